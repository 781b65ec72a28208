# SPDX-License-Identifier: Apache-2.0
"""A broker process under test: start, wait for its ready line, stop, kill, look at it."""
import contextlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import time

import checks

BINARY = os.path.abspath(os.environ.get("MILLRACE") or os.path.join(checks.TOP, "build", "release", "millrace"))
READY_LIMIT_S = 60
STOP_LIMIT_S = 60


given_ports = set()


def free_port():
    """Not one that the kernel gives to outgoing connections: a client must not sit on the port of a broker that
    is down for a moment."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        first = int(f.read().split()[0])
    ports = random.SystemRandom().sample(range(10000, first), 100) if first > 11000 else [0]
    for port in ports:
        if port in given_ports:  # to a broker that has not started yet
            continue
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            port = s.getsockname()[1]
            given_ports.add(port)
            return port
    raise AssertionError("no free port found")


class Broker:
    """Kafka on `address`, admin on 127.0.0.1. `prefix` is a command that execs the rest of its arguments
    (ip netns exec, prlimit, setpriv ...), so that the process id is the broker's."""

    def __init__(self, t, name="broker", sets=None, prefix=(), address=None, binary=None, space=None, data=None):
        self.t = t
        self.name = name
        self.prefix = list(prefix)
        self.binary = binary or BINARY
        self.space = space  # netns.Namespace whose loopback has the admin port; None: ours
        self.address = address or f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.data = data or os.path.join(t.dir, name + "-data")
        os.makedirs(self.data, exist_ok=True)
        self.out = os.path.join(t.dir, name + ".out")
        self.err = os.path.join(t.dir, name + ".err")
        self.process = None
        self.sets = {
            "listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": self.data,
            "admin.listener": self.admin,
            "memory.log.bytes": str(256 << 20),
        }
        self.sets.update(sets or {})
        t.undo.callback(self.kill)
        t.logs.append(self.err)

    def command(self):
        cmd = self.prefix + [self.binary]
        for key, value in self.sets.items():
            cmd += ["--set", f"{key}={value}"]
        return cmd

    def spawn(self):
        """Starts the process; its output of this run alone is in self.out and self.err."""
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        return self

    def start(self):
        self.spawn()
        checks.wait_until("millrace ready", self.is_ready, READY_LIMIT_S, 0.005)
        return self

    def is_ready(self):
        if "millrace ready" in self.read(self.out):
            return True
        code = self.process.poll()
        if code is not None:
            raise AssertionError(f"{self.name} ended with {code}: {self.read(self.err)[-600:]}")
        return False

    @staticmethod
    def read(path):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log(self):
        return self.read(self.err)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, limit_s=STOP_LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {limit_s} s") from None

    def stop(self, sig=signal.SIGTERM):
        """Exit code and seconds that the stop took."""
        start = time.monotonic()
        self.process.send_signal(sig)
        code = self.wait()
        return code, time.monotonic() - start

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def http(self, path):
        """(status, body) of the admin port."""
        host, port = self.admin.rsplit(":", 1)
        if self.space:
            with self.space.entered():
                return self.http_here(host, int(port), path)
        return self.http_here(host, int(port), path)

    @staticmethod
    def http_here(host, port, path):
        c = http.client.HTTPConnection(host, port, timeout=20)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode("utf-8", "replace")
        finally:
            c.close()

    def metrics(self):
        """{(name, labels): value} with the millrace_ prefix taken off; labels as written."""
        status, body = self.http("/metrics")
        assert status == 200, f"/metrics answers {status}"
        found = {}
        for line in body.splitlines():
            m = re.match(r"([a-zA-Z_:][\w:]*)(\{[^}]*\})?\s+(\S+)", line)
            if m and not line.startswith("#"):
                found[(re.sub("^millrace_", "", m.group(1)), m.group(2) or "")] = float(m.group(3))
        return found

    def metric(self, name):
        """Sum over all labels."""
        values = [v for (n, _), v in self.metrics().items() if n == name]
        assert values, f"no metric {name}"
        return sum(values)

    def status_field(self, field):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return line.split(":", 1)[1].split()[0]
        raise KeyError(field)

    def rss_bytes(self):
        return int(self.status_field("VmRSS")) * 1024

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
