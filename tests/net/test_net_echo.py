#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both transports, without a broker: an echo server over dataplane/net/net.h against kernel sockets.

Kernel sockets; and dpdk over tap, af_xdp, af_packet and memif, each in network namespaces of its own,
with and without hugepages, with one shard and with two.
"""
import contextlib
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import netns  # noqa: E402

ECHO = os.path.join(os.path.dirname(broker.BINARY), "helpers", "net_echo")
SERVER, CLIENT, PORT = "10.78.0.2", "10.78.0.1", 9092
LIMIT_S = 60
HUGEPAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
IDLE_CPU_MAX = 0.01


# ---- clients ----

def connect(address):
    s = socket.create_connection(address, timeout=LIMIT_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    """Until the end of the stream."""
    got = bytearray()
    while True:
        piece = s.recv(1 << 16)
        if not piece:
            return bytes(got)
        got += piece


def read_exactly(s, n):
    got = bytearray()
    while len(got) < n:
        piece = s.recv(min(n - len(got), 1 << 16))
        if not piece:
            raise AssertionError(f"the connection ended after {len(got)} of {n} bytes")
        got += piece
    return bytes(got)


def in_threads(work):
    """Runs the functions at once; raises what one of them raised."""
    faults = []

    def guarded(f):
        try:
            f()
        except BaseException as e:  # noqa: B902
            faults.append(e)

    threads = [threading.Thread(target=guarded, args=(f,), daemon=True) for f in work]
    for th in threads:
        th.start()
    for th in threads:
        th.join(LIMIT_S * 2)
        assert not th.is_alive(), "a client hangs"
    if faults:
        raise faults[0]


def echo_stream(address, data, chunk):
    """Writes and reads at the same time, and compares. The first byte may be an order to the server."""
    with connect(address) as s:
        def write():
            for i in range(0, len(data), chunk):
                s.sendall(data[i:i + chunk])

        back = []
        in_threads([write, lambda: back.append(read_exactly(s, len(data)))])
        assert hashlib.sha256(back[0]).digest() == hashlib.sha256(data).digest(), "other bytes came back"


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# ---- servers ----

class Echo:
    def __init__(self, t, name, args, space):
        self.space = space
        self.err = os.path.join(t.dir, f"{name}.err")
        t.logs.append(self.err)
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(space.prefix() + [ECHO] + args, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=err, text=True)
        t.undo.callback(self.kill)
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            self.process.wait(LIMIT_S)
            raise AssertionError("did not start: " + " ".join(checks.ends_with(self.err)))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def cpu_s(self):
        """Processor time of all threads, in seconds."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def stop(self):
        """Ends it and returns its counters."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == 0, f"exit code {self.process.returncode}"
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", out)}


class Kernel:
    name = "kernel"
    dpdk = False

    def __init__(self, t, shards=1, huge="off"):
        self.space = self.server_space = netns.Namespace(t, "echo")
        self.address = ("127.0.0.1", PORT)
        self.shards = shards
        self.args = ["kernel", str(PORT), str(shards)]

    def wire_started(self):
        pass


class Dpdk:
    dpdk = True
    interface = None

    def __init__(self, t, shards=1, huge="off"):
        self.t = t
        self.shards = shards
        self.space = self.server_space = netns.Namespace(t, "echo")
        self.address = (SERVER, PORT)
        port = self.wire(t)
        self.args = ["dpdk", port, SERVER + "/24", str(PORT), str(shards), huge]

    def wire_started(self):
        self.space.ip("addr", "replace", CLIENT + "/24", "dev", self.interface)
        self.space.ip("link", "set", self.interface, "up")


class Tap(Dpdk):
    name = "tap"
    interface = "mrtap"

    def wire(self, t):
        return "tap:mrtap"


class Veth(Dpdk):
    interface = "mrc"
    queues = None  # as many as shards

    def wire(self, t):
        self.space = netns.Namespace(t, "client")
        netns.veth(self.server_space, "mrb", self.space, "mrc", self.queues or self.shards)
        return f"{self.name}:mrb"


class AfXdp(Veth):
    name = "af_xdp"
    queues = 1  # the driver cannot take more of a veth


class AfPacket(Veth):
    name = "af_packet"


class Memif(Dpdk):
    """testpmd carries the frames between the memif and a tap."""
    name = "memif"
    interface = "mrtap"

    def wire(self, t):
        self.socket = os.path.join(t.dir, "memif.sock")
        return "memif:" + self.socket

    def wire_started(self):
        cmd = ["dpdk-testpmd", "--no-huge", "-m", "256", "--no-shconf", "--no-pci", "--no-telemetry", "--iova-mode=va",
               "-l", "0,1", "--file-prefix=mrtest",
               f"--vdev=net_memif0,role=client,id=0,socket-abstract=no,socket={self.socket}",
               f"--vdev=net_tap0,iface={self.interface}", "--", "--forward-mode=io", "--auto-start",
               "--total-num-mbufs=16384", "--stats-period=3600"]
        self.pmd_out = os.path.join(self.t.dir, "testpmd.out")
        self.t.logs.append(self.pmd_out)
        with open(self.pmd_out, "wb") as out:
            self.bridge = subprocess.Popen(self.space.prefix() + cmd, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.t.undo.callback(self.unbridge)
        checks.wait_until("the tap of testpmd", lambda: os.path.exists(f"/proc/{self.bridge.pid}") and
                          self.interface in self.space.ip("link"))
        super().wire_started()

    def unbridge(self):
        if self.bridge.poll() is None:
            self.bridge.kill()
            self.bridge.wait()


# ---- checks of one server ----

def ping(wire, size, count):
    wire.space.sh("ping", "-n", "-c", str(count), "-i", "0.05", "-W", "5", "-s", str(size), SERVER)


def check_pings(t, wire, label):
    with t.check(f"{label}: answers pings of 16 to 1,472 bytes"):
        checks.wait_until("a first answer", lambda: subprocess.run(
            wire.space.prefix() + ["ping", "-n", "-c", "1", "-W", "1", SERVER], stdout=subprocess.DEVNULL,
            check=False).returncode == 0, step_s=0.1)
        for size in (16, 56, 1000, 1472):
            ping(wire, size, 5)


def check_streams(t, wire, label):
    with t.check(f"{label}: 20 MB of random bytes come back on 4 connections at once"):
        data = [b"E" + t.random.randbytes(5 << 20) for _ in range(4)]
        in_threads([lambda d=d, c=c: echo_stream(wire.address, d, c)
                    for d, c in zip(data, (100, 4096, 65536, 1 << 20))])
    with t.check(f"{label}: a connection that the server pauses again and again loses nothing"):
        echo_stream(wire.address, b"P" + t.random.randbytes(2 << 20), 30000)
    with t.check(f"{label}: a client that does not read stops the server's sending and gets all later"):
        data = b"E" + t.random.randbytes(8 << 20)
        with connect(wire.address) as s:
            s.settimeout(1)
            sent = 0
            with contextlib.suppress(socket.timeout):
                while sent < len(data):
                    sent += s.send(data[sent:sent + 65536])
            s.settimeout(LIMIT_S)
            assert read_exactly(s, sent) == data[:sent]


def check_ends(t, wire, label):
    with t.check(f"{label}: what came before the client's FIN is answered"):
        data = b"E" + t.random.randbytes(200_000)
        with connect(wire.address) as s:
            back = []

            def write():
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)

            in_threads([write, lambda: back.append(read_all(s))])
            assert back[0] == data, f"{len(back[0])} bytes came"
    with t.check(f"{label}: the server's close comes after its last bytes"):
        with connect(wire.address) as s:
            s.sendall(b"C" + b"x" * 99)
            assert read_all(s) == b"C" + b"x" * 99
    with t.check(f"{label}: the server's abort is a reset"):
        with connect(wire.address) as s:
            s.sendall(b"R")
            try:
                s.recv(1)
                raise AssertionError("no reset")
            except ConnectionResetError:
                pass
    with t.check(f"{label}: clients that reset in the middle disturb nobody"):
        data = b"E" + t.random.randbytes(1 << 20)

        def rude():
            for _ in range(5):
                s = connect(wire.address)
                s.sendall(data[:300_000])
                reset(s)

        in_threads([rude, rude, lambda: echo_stream(wire.address, data, 10_000)])


def check_many(t, wire, label):
    with t.check(f"{label}: 300 connections at once, each with its own bytes"):
        socks = [connect(wire.address) for _ in range(300)]
        data = [b"E" + t.random.randbytes(1000 + i) for i in range(300)]
        for s, d in zip(socks, data):
            s.sendall(d)
        for s, d in zip(socks, data):
            assert read_exactly(s, len(d)) == d
        for s in socks:
            s.close()


def check_idle(t, echo, label):
    with t.check(f"{label}: idle, it uses under 1 % of a core"):
        time.sleep(1.5)  # a port that cannot wake us is looked at less and less often
        start, at = echo.cpu_s(), time.monotonic()
        time.sleep(2)
        share = (echo.cpu_s() - start) / (time.monotonic() - at)
        print(f"      idle: {share * 100:.2f} % of a core")
        assert share < IDLE_CPU_MAX, f"{share * 100:.2f} %"


def check_stop(t, echo, wire, label):
    with t.check(f"{label}: ends cleanly, with open connections too"):
        with connect(wire.address) as s:
            s.sendall(b"still here")
            assert read_exactly(s, 10) == b"still here"
            # Those that have ended before are gone from its tables.
            counters = echo.stop()
            try:
                rest = s.recv(1)
            except ConnectionResetError:
                rest = b""
            assert rest == b"", "the client was not told"
        print("      " + " ".join(f"{k}={v}" for k, v in counters.items()))
        shards = [counters[f"conns{i}"] for i in range(wire.shards)]
        assert all(shards), f"a shard had no connection: {shards}"
        assert sum(counters[f"open{i}"] for i in range(wire.shards)) == 1, "connections are left over"
    if wire.dpdk:
        assert "mrtap" not in wire.server_space.ip("link") or wire.name != "tap", "the tap is still there"


def everything(t, kind, shards=1, huge="off"):
    label = kind.name + (f", {shards} shards" if shards > 1 else "") + (", hugepages" if huge == "require" else "")
    failed = t.failed
    with contextlib.ExitStack() as stack:
        # Namespaces and processes of this server end with it.
        outer, t.undo = t.undo, stack
        try:
            with t.check(f"{label}: starts"):
                wire = kind(t, shards, huge)
                echo = Echo(t, label.replace(" ", "-").replace(",", ""), wire.args, wire.server_space)
                wire.wire_started()
            if t.failed > failed:
                return
            with wire.space.entered():
                if wire.dpdk:
                    check_pings(t, wire, label)
                check_streams(t, wire, label)
                check_ends(t, wire, label)
                check_many(t, wire, label)
                check_idle(t, echo, label)
                check_stop(t, echo, wire, label)
        finally:
            t.undo = outer


# ---- refusals ----

def refused(space, args, prefix=()):
    """What it says when it does not start."""
    r = subprocess.run(space.prefix() + list(prefix) + [ECHO] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
    assert r.returncode == 1, f"exit code {r.returncode}, {r.stdout}{r.stderr}"
    lines = [x for x in r.stderr.splitlines() if " WARN " not in x]
    assert len(lines) == 1, "more than one line: " + r.stderr
    return lines[0]


REFUSALS = (
    ("a port that is none", "eth0", SERVER + "/24", r"dpdk\.port=eth0 is not a port: give tap:NAME"),
    ("a name with a comma in it", "tap:a,b", SERVER + "/24", r"what follows the name is not KEY=VALUE"),
    ("an argument that the driver does not know", "tap:a,b=c", SERVER + "/24", r"has not made a: look at what follows"),
    ("an address without its network", "tap:mrtap", SERVER, r"dpdk\.address=10\.78\.0\.2: give an IPv4 address and"),
    ("an address that is none", "tap:mrtap", "10.78.0.256/24", r"'10\.78\.0\.256' is not an IPv4 address"),
    ("an interface that does not exist", "af_xdp:none0", SERVER + "/24", r"no such network interface: see ip link"),
    ("an interface that is down", "af_packet:mrdown", SERVER + "/24", r"is down: run ip link set mrdown up"),
    ("an interface with queues that af_xdp would not see", "af_xdp:mrmany", SERVER + "/24",
     r"has 2 receive queues and af_xdp can take 1 of them: run ethtool -L mrmany rx 1"),
    ("a PCI device that does not exist", "pci:ffff:ff:1f.7", SERVER + "/24", r"no such PCI device: see lspci"),
)


def refusals(t):
    space = netns.Namespace(t, "refuse")
    space.ip("link", "add", "mrmany", "numrxqueues", "2", "type", "veth", "peer", "name", "mrmany2")
    space.ip("link", "set", "mrmany", "up")
    space.ip("link", "add", "mrdown", "type", "veth", "peer", "name", "mrdown2")
    for what, port, address, want in REFUSALS:
        with t.check(f"refused with a sentence: {what}"):
            said = refused(space, ["dpdk", port, address, str(PORT)])
            assert re.search(want, said), said
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for port in ("tap:mrtap", "af_packet:lo", "af_xdp:lo"):
        with t.check(f"refused with a sentence: an ordinary user with {port}"):
            said = refused(space, ["dpdk", port, SERVER + "/24", str(PORT)], user)
            assert re.search(r"run as root or give the process CAP_NET_", said), said
    with t.check("refused with a sentence: hugepages that are not there"):
        if free_hugepages() == 0:
            said = refused(space, ["dpdk", "tap:mrtap", SERVER + "/24", str(PORT), "1", "require"])
            assert re.search(r"MiB are needed and 0 MiB are free: run sysctl -w vm\.nr_hugepages=\d+", said), said
    with t.check("refused with a sentence: a kernel port in use"):
        with space.entered(), socket.create_server(("0.0.0.0", PORT)):
            said = refused(space, ["kernel", str(PORT)])
        assert re.search(r"port 9092 on all addresses is already in use: stop the other process", said), said


# ---- hugepages ----

def free_hugepages():
    with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as f:
        return int(f.read())


@contextlib.contextmanager
def hugepages(want):
    """At least so many free pages while the body runs; True when they are there."""
    try:
        with open(HUGEPAGES, encoding="ascii") as f:
            before = int(f.read())
    except OSError:
        yield False
        return
    missing = want - free_hugepages()

    def write(n):
        with contextlib.suppress(OSError), open(HUGEPAGES, "w", encoding="ascii") as f:
            f.write(str(n))

    try:
        if missing > 0:
            write(before + missing)
        yield free_hugepages() >= want
    finally:
        if missing > 0:
            write(before)


def main(t):
    assert os.path.exists(ECHO), f"{ECHO} is not built"
    refusals(t)
    everything(t, Kernel)
    everything(t, Kernel, shards=2)
    everything(t, Tap)
    everything(t, Tap, shards=2)
    everything(t, AfXdp)
    everything(t, AfXdp, shards=2)
    everything(t, AfPacket)
    everything(t, AfPacket, shards=2)
    everything(t, Memif)
    with hugepages(150) as there:
        if there:
            for kind in (Tap, AfXdp, AfPacket):
                everything(t, kind, huge="require")
        else:
            print("      no hugepages can be reserved here: not tried with them")


if __name__ == "__main__":
    checks.run(main)
