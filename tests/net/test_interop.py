#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Our TCP against the Linux kernel's, over tap and veth, and lwIP's, on good wires and on bad ones.

Each cell is one kind of wire and one kind of traffic; every byte is compared at both ends (net_interop). The
same traffic of a kernel server over the same wire is the measure, both ends with CUBIC: the ratio of both rates
is printed, `--ratio 0.8` makes less a failure. `--bytes 10G` shares so much out among the cells, the suite takes a sample.
Bad wires are a forwarder of our own between two interfaces (net_lossy): it loses and reorders frames at
random, both ways, and delays them by a millisecond.
"""
import argparse
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import netns  # noqa: E402

HELPERS = os.path.join(os.path.dirname(broker.BINARY), "helpers")
INTEROP = os.path.join(HELPERS, "net_interop")
LWIP = os.path.join(HELPERS, "lwip_client")
LOSSY = os.path.join(HELPERS, "net_lossy")
SERVER, CLIENT, PORT = "10.79.0.2", "10.79.0.1", "9092"
LIMIT_S = 150
DELAY_US = "1000"
SAMPLE_BYTES = 200 << 20


class Program:
    """Something that says "ready", and counters when it is ended."""

    def __init__(self, undo, space, cmd):
        self.process = subprocess.Popen(space.prefix() + cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        undo.callback(self.kill)
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            raise AssertionError(f"{os.path.basename(cmd[0])} did not start: {self.process.stderr.read()[-500:]}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def end(self):
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, f"exit code {self.process.returncode}: {err[-500:]}"
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", out)}


def cubic(space, device):
    """As ours is by default: this kernel may have been told otherwise."""
    space.ip("route", "replace", "10.79.0.0/24", "dev", device, "congctl", "cubic")


class Wire:
    """A server and a client namespace, with a cable between them: KIND is tap, af_packet, af_xdp or kernel."""

    def __init__(self, t, undo, kind, loss=0, reorder=0):
        self.loss, self.reorder = loss, reorder
        outer, t.undo = t.undo, undo
        try:
            self.server_space = netns.Namespace(t, "s")
            self.client_space = netns.Namespace(t, "c")
            bad = loss or reorder
            middle = netns.Namespace(t, "m") if bad and kind != "tap" else self.server_space
        finally:
            t.undo = outer
        near = "mrtap"  # what the forwarder, or the client itself, finds at the server's end of its cable
        if kind == "tap":
            if not bad:
                self.client_space = self.server_space
        elif bad:
            netns.veth(self.server_space, "mrs", middle, "mrn")
            near = "mrn"
        else:
            netns.veth(self.server_space, "mrs", self.client_space, "mrc")
        if kind == "kernel":
            self.server_space.ip("addr", "add", f"{SERVER}/24", "dev", "mrs")
            cubic(self.server_space, "mrs")
            cmd = ["serve", "kernel", SERVER, PORT]
        else:
            cmd = ["serve", "dpdk", "tap:mrtap" if kind == "tap" else f"{kind}:mrs", f"{SERVER}/24", PORT]
        self.server = Program(undo, self.server_space, [INTEROP] + cmd)
        if bad:
            netns.veth(middle, "mrf", self.client_space, "mrc")
            middle.ip("link", "set", near, "up")
            self.forwarder = Program(undo, middle, [LOSSY, near, "mrf", str(loss), str(reorder), DELAY_US,
                                                    str(t.random.randrange(1 << 30))])
        self.device = "mrtap" if kind == "tap" and not bad else "mrc"
        self.client_space.ip("addr", "add", f"{CLIENT}/24", "dev", self.device)
        self.client_space.ip("link", "set", self.device, "up")
        cubic(self.client_space, self.device)

    def run(self, how="-", to_server=0, to_client=0, connections=1, threads=1, rcvbuf=0):
        """Bytes per second."""
        cmd = [INTEROP, "client", how, SERVER, PORT] + [str(n) for n in (to_server, to_client, connections, threads,
                                                                        rcvbuf)]
        r = subprocess.run(self.client_space.prefix() + cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
        got = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", r.stdout)}
        assert r.returncode == 0 and got["wrong"] == 0 and got["failed"] == 0, (r.stdout + r.stderr)[-500:]
        self.moved = got["bytes"]
        return got["bytes"] * 1e9 / got["ns"]


class LwipWire:
    """Our server on one tap, lwIP on another, and the forwarder between them."""

    def __init__(self, t, undo, loss, reorder):
        self.runs = 0
        outer, t.undo = t.undo, undo
        try:
            self.space = netns.Namespace(t, "l")
        finally:
            t.undo = outer
        self.space.ip("tuntap", "add", "mrlwip", "mode", "tap")
        self.server = Program(undo, self.space, [INTEROP, "serve", "dpdk", "tap:mrtap", f"{SERVER}/24", PORT])
        for device in ("mrlwip", "mrtap"):
            self.space.ip("link", "set", device, "up")
        self.forwarder = Program(undo, self.space, [LOSSY, "mrtap", "mrlwip", str(loss), str(reorder), "100",
                                                    str(t.random.randrange(1 << 30))])

    def run(self, how="-", to_server=0, to_client=0, connections=1):
        # Each run with an address of its own: lwIP begins with the same ports and numbers whenever it starts, and
        # would find the connections of the run before in TIME_WAIT.
        self.runs += 1
        cmd = [LWIP, how, SERVER, PORT] + [str(n) for n in (to_server, to_client, connections, 1, 0)]
        r = subprocess.run(self.space.prefix() + cmd + ["mrlwip", f"10.79.0.{100 + self.runs}"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
        assert r.returncode == 0, (r.stdout + r.stderr)[-500:]
        got = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", r.stdout)}
        assert got["wrong"] == 0 and got["failed"] == 0, r.stdout
        return got["bytes"] * 1e9 / got["ns"]


def lwip(t):
    for loss, reorder in ((0, 0), (100, 200)):
        label = f"lwIP, {loss / 100:g} % lost, {reorder / 100:g} % reordered"
        n = 500_000 if loss else 20_000_000
        with contextlib.ExitStack() as undo:
            with t.check(f"{label}: starts"):
                w = LwipWire(t, undo, loss, reorder)
            for name, traffic in (("receive", {"to_server": n}), ("send", {"to_client": n}),
                                  ("both, FIN first", {"how": "h", "to_server": n, "to_client": 1 << 18}),
                                  ("100 short connections", {"to_server": 100, "to_client": 1000, "connections": 100})):
                with t.check(f"{label}: {name}"):
                    print(f"      {label}, {name}: {w.run(**traffic) / 1e6:.2f} MB/s")
            w.server.end()


# Wires: loss and reordering in 10,000 frames, and the share of the bytes that such a wire is given.
WIRES = ((0, 0, 1.0), (0, 200, 0.1), (100, 0, 0.1), (100, 200, 0.06), (300, 0, 0.03), (1000, 0, 0.006))


def cells(size):
    """Traffic of about so many bytes."""
    n = max(size, 200_000)
    many = max(min(n // 20_000, 4000), 20)
    return (
        ("receive", {"to_server": n}),
        ("send", {"to_client": n}),
        ("both, FIN first", {"how": "h", "to_server": n // 2, "to_client": min(n // 2, 1 << 20)}),
        ("tiny windows", {"to_client": n // 50, "rcvbuf": 2304}),
        (f"{many} short connections", {"to_server": 100, "to_client": 1000, "connections": many, "threads": 4}),
        ("clients close first", {"how": "c", "to_server": 1000, "to_client": 100, "connections": many // 4,
                                 "threads": 4}),
        ("resets", {"how": "r", "to_server": 100_000, "connections": many // 4, "threads": 4}),
        ("receive after resets", {"to_server": n // 4}),
    )


def rates_of(t, kind, wire, size, checked):
    """The rates of all cells with this server, as far as they work."""
    rates, moved = {}, 0
    loss, reorder, share = wire
    with contextlib.ExitStack() as undo:
        with t.check(f"{checked}: starts") if checked else contextlib.nullcontext():
            w = Wire(t, undo, kind, loss, reorder)
        for name, traffic in cells(int(size * share)):
            with t.check(f"{checked}: {name}") if checked else contextlib.nullcontext():
                rates[name] = w.run(**traffic)
                moved += w.moved
        counters = w.server.end()
        if loss or reorder:
            w.forwarder.end()
    return rates, moved, counters


def show(t, label, ours, kernels, least):
    for name, rate in ours.items():
        if not rate or not kernels.get(name):
            continue
        ratio = rate / kernels[name]
        print(f"      {label}, {name}: {rate / 1e6:.2f} MB/s, kernel to kernel {kernels[name] / 1e6:.2f}, "
              f"ratio {ratio:.2f}")
        if least and name in ("receive", "send"):
            with t.check(f"{label}: {name} at {least} of the kernel's rate"):
                assert ratio >= least, f"{ratio:.2f}"


def size_of(text):
    m = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not m:
        raise argparse.ArgumentTypeError(f"{text} is not like 10G")
    return int(m.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30}[m.group(2)]


def main(t):
    assert os.path.exists(INTEROP), f"{INTEROP} is not built"
    # All wires and both transports of a kind share the bytes; a sample takes the worst wire and a few others.
    wires = WIRES if OWN.bytes else (WIRES[0], WIRES[3], WIRES[5])
    kinds = [k for k in OWN.kinds.split(",") if k]
    total = sum(w[2] for w in wires) * 2.3 * max(len(kinds), 1)
    size = (OWN.bytes or SAMPLE_BYTES) / total
    moved = 0
    for wire in wires if kinds else ():
        label = f"{wire[0] / 100:g} % lost, {wire[1] / 100:g} % reordered"
        kernels, _, _ = rates_of(t, "kernel", wire, size, None)
        for kind in kinds:
            ours, n, counters = rates_of(t, kind, wire, size, f"{kind}, {label}")
            moved += n
            show(t, f"{kind}, {label}", ours, kernels, OWN.ratio)
            print("      " + " ".join(f"{k}={v}" for k, v in counters.items()))
    print(f"      {moved / 1e9:.2f} GB compared")
    if os.path.exists(LWIP):
        lwip(t)
    else:
        print("      liblwip-dev was not there at the build: not tried against lwIP")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bytes", type=size_of, default=0)
    parser.add_argument("--ratio", type=float, default=0)
    parser.add_argument("--kinds", default="tap,af_packet,af_xdp")
    OWN, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    checks.run(main)
