#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same veth and the same client, the broker on the kernel's sockets or on AF_XDP and our own TCP: CPU time of its shard
per byte and per request, and round trips. In turns (ABBA), offloads off at both ends; medians, and the ratio kernel / af_xdp.

    veth_cpu.py [PAIRS]

bytes: kcat produces records of 1,000 bytes. requests: ApiVersions, one in flight on each of 16 connections. round trip: one
connection, one in flight. The client is Python or librdkafka on the same machine: its time is in the wall time, not in the CPU.
"""
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

RECORDS, RECORD = 300_000, 1_000
REQUESTS, CONNECTIONS, TRIPS = 100_000, 16, 20_000
API_VERSIONS = 18


def shard_s(b):
    """CPU seconds of the shard's thread: requests and the network, without the storage."""
    tasks = f"/proc/{b.process.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/stat", encoding="ascii") as f:
            name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        if name.startswith("shard"):
            with open(f"{tasks}/{task}/schedstat", encoding="ascii") as f:
                return int(f.read().split()[0]) / 1e9
    raise AssertionError(f"no shard among the threads; the last is {name}, {rest}")


class KernelVeth:
    """As netns.AfXdp, with the kernel's sockets on both ends."""
    name = "kernel"

    def __init__(self, t):
        address = f"{netns.BROKER_IP}:{netns.PORT}"
        home, self.space = netns.Namespace(t, "b"), netns.Namespace(t, "c")
        netns.veth(home, "mrb", self.space, "mrc")
        home.ip("addr", "add", f"{netns.BROKER_IP}/24", "dev", "mrb")
        self.space.ip("addr", "add", f"{netns.CLIENT_IP}/24", "dev", "mrc")
        self.broker = broker.Broker(t, name="kernel", sets={"listeners": f"PLAINTEXT://{address}", "shards": "1"},
                                    prefix=home.prefix(), address=address, space=home)

    def start(self):
        self.broker.start()
        return self


def connection(address):
    host, port = address.rsplit(":", 1)
    s = socket.create_connection((host, int(port)))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def answer(s):
    size, = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))
    assert len(s.recv(size, socket.MSG_WAITALL)) == size


def cost_of_bytes(at, lines):
    cpu = shard_s(at.broker)
    subprocess.run(["kcat", "-P", "-b", at.broker.address, "-t", "bytes", "-l", lines, "-X", "linger.ms=5",
                    "-X", "queue.buffering.max.kbytes=1000000"], check=True, stderr=subprocess.DEVNULL)
    return (shard_s(at.broker) - cpu) / (RECORDS * RECORD) * 1e9


def cost_of_requests(at):
    ask = wire.request(API_VERSIONS, 0, b"")
    sel = selectors.DefaultSelector()
    conns = [connection(at.broker.address) for _ in range(CONNECTIONS)]
    cpu = shard_s(at.broker)
    for s in conns:
        sel.register(s, selectors.EVENT_READ)
        s.sendall(ask)
    for done in range(REQUESTS):
        if done % CONNECTIONS == 0:
            ready = []
        while not ready:
            ready = [key.fileobj for key, _ in sel.select(10)]
        s = ready.pop()
        answer(s)
        s.sendall(ask)
    used = shard_s(at.broker) - cpu
    for s in conns:
        s.close()
    return used / REQUESTS * 1e9


def round_trips(at):
    ask = wire.request(API_VERSIONS, 0, b"")
    took = []
    with connection(at.broker.address) as s:
        for _ in range(TRIPS):
            begin = time.perf_counter_ns()
            s.sendall(ask)
            answer(s)
            took.append((time.perf_counter_ns() - begin) / 1000)
    took.sort()
    return took[TRIPS // 2], took[TRIPS * 99 // 100]


def measure(at, lines):
    with at.space.entered():
        return (cost_of_bytes(at, lines), cost_of_requests(at)) + round_trips(at)


NAMES = ("ns of CPU per byte produced", "ns of CPU per request", "round trip p50, us", "round trip p99, us")


def main(t):
    lines = os.path.join(t.dir, "lines")
    with open(lines, "w", encoding="ascii") as f:
        for i in range(RECORDS):
            f.write(f"{i:0{RECORD - 1}d}\n")
    places = [KernelVeth(t).start(), netns.AfXdp(t, sets={"shards": "1"}, name="af_xdp").start()]
    figures = {at.name: [] for at in places}
    for at in places:
        with at.space.entered():
            kcat.create_topic(at.broker.address, "bytes", 1)
    with t.check("measured"):
        for turn in range(PAIRS):
            for at in places if turn % 2 == 0 else reversed(places):
                figures[at.name].append(measure(at, lines))
    for i, name in enumerate(NAMES):
        kernel, ours = ([f[i] for f in figures[at.name]] for at in places)
        print(f"{name}: kernel {statistics.median(kernel):.1f}, af_xdp {statistics.median(ours):.1f}; "
              f"kernel / af_xdp {statistics.median(k / o for k, o in zip(kernel, ours)):.2f}")
    for at in places:
        at.broker.stop()


if __name__ == "__main__":
    PAIRS = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    sys.argv[1:] = []
    checks.run(main)
