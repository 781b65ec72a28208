# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, veth pairs and the three ways to put a broker on a network. Needs root.

Everything made here is removed at the end of the script, also when it fails; what a killed run left
behind is removed by the next one.
"""
import contextlib
import ctypes
import itertools
import os
import re
import subprocess

import broker

CLONE_NEWNET = 0x40000000
PREFIX = "mrtest"
BROKER_IP = "10.77.0.2"
CLIENT_IP = "10.77.0.1"
PORT = 9092

numbers = itertools.count()
libc = ctypes.CDLL(None, use_errno=True)


def sh(*cmd):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(cmd)}: {r.stdout.strip()}")
    return r.stdout


def remove_left_over():
    for line in sh("ip", "netns", "list").splitlines():
        m = re.match(PREFIX + r"-(\d+)-", line)
        if m and not os.path.exists(f"/proc/{m.group(1)}"):
            subprocess.run(["ip", "netns", "del", line.split()[0]], check=False)


class Namespace:
    def __init__(self, t, what):
        if os.geteuid() != 0:
            raise RuntimeError("network namespaces need root: run tools/test as root")
        remove_left_over()
        self.name = f"{PREFIX}-{os.getpid()}-{what}{next(numbers)}"
        sh("ip", "netns", "add", self.name)
        t.undo.callback(self.remove)
        self.ip("link", "set", "lo", "up")

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def prefix(self):
        return ["ip", "netns", "exec", self.name]

    def sh(self, *cmd):
        return sh(*self.prefix(), *cmd)

    def ip(self, *args):
        return sh("ip", "-n", self.name, *args)

    @contextlib.contextmanager
    def entered(self):
        """The calling thread, and threads and processes that it starts meanwhile, are in the namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if libc.setns(inside, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(before, CLONE_NEWNET)
        finally:
            os.close(inside)
            os.close(before)


def veth(a, name_a, b, name_b, queues=1):
    """A cable between two namespaces. Offloads are off at both ends: a port that bypasses the kernel sees
    what the other end really sends, so that must be whole packets with checksums."""
    sh("ip", "-n", a.name, "link", "add", name_a, "numtxqueues", str(queues), "numrxqueues", str(queues), "type",
       "veth", "peer", "name", name_b, "numtxqueues", str(queues), "numrxqueues", str(queues), "netns", b.name)
    for ns, name in ((a, name_a), (b, name_b)):
        for feature in ("tx", "rx", "tso", "gso", "gro", "sg"):
            subprocess.run(ns.prefix() + ["ethtool", "-K", name, feature, "off"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ns.ip("link", "set", name, "up")


class Kernel:
    """The kernel transport on loopback of this machine."""
    name = "kernel"
    space = None

    def __init__(self, t, sets=None, **kw):
        self.broker = broker.Broker(t, sets=sets, **kw)

    def start(self):
        self.broker.start()
        return self

    @contextlib.contextmanager
    def client_side(self):
        yield


class Dpdk:
    """The dpdk transport; subclasses say by which port."""

    def __init__(self, t, sets=None, **kw):
        self.broker_space = Namespace(t, "b")
        self.space = self.broker_space
        self.queues = int((sets or {}).get("shards", 1))
        port = self.wire(t)
        own = {
            "network.transport": "dpdk",
            "dpdk.port": port,
            "dpdk.address": f"{BROKER_IP}/24",
            "listeners": f"PLAINTEXT://{BROKER_IP}:{PORT}",
        }
        own.update(sets or {})
        self.broker = broker.Broker(t, sets=own, prefix=self.broker_space.prefix(), address=f"{BROKER_IP}:{PORT}",
                                    space=self.broker_space, **kw)

    def start(self):
        self.broker.start()
        self.wire_started()
        return self

    def wire_started(self):
        pass

    @contextlib.contextmanager
    def client_side(self):
        with self.space.entered():
            yield


class Tap(Dpdk):
    """DPDK makes a kernel tap device; clients use the kernel's end of it, in the broker's namespace."""
    name = "tap"

    def wire(self, t):
        return "tap:mrtap"

    def wire_started(self):
        self.space.ip("addr", "replace", f"{CLIENT_IP}/24", "dev", "mrtap")
        self.space.ip("link", "set", "mrtap", "up")


class AfXdp(Dpdk):
    """A veth pair: AF_XDP on the broker's end, the kernel's TCP on the clients' end in another namespace."""
    name = "af_xdp"

    def wire(self, t):
        self.space = Namespace(t, "c")
        veth(self.broker_space, "mrb", self.space, "mrc")  # one queue: the driver cannot take more of a veth
        self.space.ip("addr", "add", f"{CLIENT_IP}/24", "dev", "mrc")
        return "af_xdp:mrb"


TRANSPORTS = {c.name: c for c in (Kernel, Tap, AfXdp)}
