#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What groups cost: a start with many of them, a rebalance of a large one, commits, and consumers that only wait.

    groups.py [PART...] [--groups N] [--offsets N] [--members N] [--waiting N] [--address HOST:PORT] [--kafka [PAIRS]]

  restart    N groups (1,000) with N offsets (100,000) in all; kill -9; time from exec until the last of 50 groups, asked
             one after the other, has its offsets. Target: 1 s.
  rebalance  a group of N members (1,000) of the classic protocol over real sockets; one leaves, one joins: time until all are
             in one generation again.
  commits    acknowledged commits a second, 32 connections with one in flight each, one offset a commit.
  waiting    N consumers (10,000) in long polls of ten seconds on an empty topic: CPU and memory of the broker.

--address measures rebalance and commits of another broker. --kafka measures both of Apache Kafka too, which flushes before
it acknowledges as we do: in turns, ours first and last (ABBA), and says the median of the ratios.
"""
import argparse
import collections
import os
import resource
import selectors
import socket
import statistics
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import peer_kafka  # noqa: E402
import wire  # noqa: E402

JOIN, HEARTBEAT, LEAVE, SYNC, COMMIT, FETCH_OFFSETS, FIND = 11, 12, 13, 14, 8, 9, 10
NULL = struct.pack(">h", -1)
PARTITIONS = 100
TOPIC = "grouped"
# ConsumerProtocolSubscription and ConsumerProtocolAssignment, version 0
SUBSCRIPTION = struct.pack(">hi", 0, 1) + wire.string(TOPIC) + struct.pack(">i", -1)
ASSIGNMENT = struct.pack(">hii", 0, 0, -1)


def commit_body(group, partitions, offset):
    return wire.string(group) + struct.pack(">i", -1) + wire.string("") + NULL + struct.pack(">i", 1) + \
        wire.string(TOPIC) + struct.pack(">i", len(partitions)) + \
        b"".join(struct.pack(">iqi", p, offset, -1) + wire.string("") for p in partitions)


def find_coordinator(c):
    """Makes __consumer_offsets, and waits until groups are served."""
    def found():
        r = c.ask(FIND, 1, wire.string("any") + b"\0")
        r.i32()
        return r.i16() == 0
    checks.wait_until("a coordinator", found, 60)


def commit_all(c, groups, offsets):
    each = offsets // groups
    for g in range(groups):
        parts = [p % PARTITIONS for p in range(each)]
        def done(g=g, parts=parts):
            r = c.ask(COMMIT, 7, commit_body(f"group-{g}", parts, g + 1))
            r.i32(), r.i32(), r.string()
            return all(r.i32() >= 0 and r.i16() == 0 for _ in range(r.i32()))
        checks.wait_until("a commit", done, 60)


def restart(t, args):
    b = broker.Broker(t, name="restart").start()
    with wire.Connection(b.address) as c:
        c.create_topic(TOPIC, PARTITIONS)
        find_coordinator(c)
        commit_all(c, args.groups, args.offsets)
    b.kill()
    begin = time.monotonic()
    b.spawn()
    while not b.is_ready():
        time.sleep(0.0005)
    ready = time.monotonic() - begin
    with wire.Connection(b.address) as c:
        for g in range(0, args.groups, max(args.groups // 50, 1)):
            def offset(g=g):
                r = c.ask(FETCH_OFFSETS, 5, wire.string(f"group-{g}") + struct.pack(">i", 1) + wire.string(TOPIC)
                          + struct.pack(">ii", 1, 0))
                r.i32()
                if r.i32() == 0:
                    return False  # being loaded
                r.string(), r.i32(), r.i32()
                at, _, _, error = r.i64(), r.i32(), r.string(), r.i16()
                return error == 0 and r.i16() == 0 and at == g + 1
            checks.wait_until(f"group {g}", offset, 60, 0.001)
    took = time.monotonic() - begin
    b.stop()
    print(f"restart: {args.groups} groups, {args.offsets} offsets: ready after {1000 * ready:.0f} ms, "
          f"all served after {1000 * took:.0f} ms")


class Member:
    """One member of the classic protocol; its requests are answered to `on_answer` in order."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.s = socket.create_connection((host, int(port)))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.id, self.generation, self.data, self.state = "", -1, bytearray(), "out"
        self.asked = collections.deque()  # the keys of what has not been answered

    def send(self, key, version, body):
        self.asked.append(key)
        self.s.sendall(wire.request(key, version, body))

    def join(self):
        self.state = "joining"
        self.send(JOIN, 5, wire.string("large") + struct.pack(">ii", 300000, 300000) + wire.string(self.id) + NULL
                  + wire.string("consumer") + struct.pack(">i", 1) + wire.string("range")
                  + struct.pack(">i", len(SUBSCRIPTION)) + SUBSCRIPTION)

    def sync(self, members):
        self.state = "syncing"
        self.send(SYNC, 3, wire.string("large") + struct.pack(">i", self.generation) + wire.string(self.id) + NULL
                  + struct.pack(">i", len(members))
                  + b"".join(wire.string(m) + struct.pack(">i", len(ASSIGNMENT)) + ASSIGNMENT for m in members))

    def heartbeat(self):
        if not self.asked:
            self.send(HEARTBEAT, 3, wire.string("large") + struct.pack(">i", self.generation) + wire.string(self.id) + NULL)

    def leave(self):
        self.state = "left"
        self.send(LEAVE, 3, wire.string("large") + struct.pack(">i", 1) + wire.string(self.id) + NULL)

    def answers(self):
        data = self.s.recv(1 << 20)
        assert data, "the broker has closed the connection"
        self.data += data
        while len(self.data) >= 4:
            size, = struct.unpack_from(">i", self.data)
            if len(self.data) < 4 + size:
                return
            r = wire.Reader(bytes(self.data[8:4 + size]))
            del self.data[:4 + size]
            self.key = self.asked.popleft()
            yield r

    def handle(self, r):
        r.i32()
        error = r.i16()
        if self.key == JOIN:
            self.generation, _, leader, member = r.i32(), r.string(), r.string(), r.string()
            self.id = member or self.id
            if error in (14, 15, 16, 79):  # not loaded yet; MEMBER_ID_REQUIRED
                self.join()
            elif error == 0:
                members = [(r.string(), r.string(), r.take(r.i32()))[0] for _ in range(r.i32())]
                self.sync(members if leader == member else [])
            else:
                raise AssertionError(f"JoinGroup: error {error}")
        elif error == 27:  # REBALANCE_IN_PROGRESS
            self.join()
        elif self.key == SYNC:
            assert error == 0, f"SyncGroup: error {error}"
            self.state = "member"


def settle(members, sel, above):
    """Until all are in one generation, above this one. Members that are in an older one heartbeat, and so learn of it."""
    begin = beat = time.monotonic()
    while True:
        now = time.monotonic()
        top = max(m.generation for m in members)
        if top > above and all(m.state == "member" and m.generation == top for m in members):
            return now - begin, top
        if now - beat > 0.1:  # clients beat every three seconds; here the wait is not what is measured
            beat = now
            for m in members:
                if m.state == "member":
                    m.heartbeat()
        for key, _ in sel.select(0.05):
            for r in key.data.answers():
                key.data.handle(r)
        assert now - begin < 300, "no rest within 300 s"


def measure_rebalance(args, address):
    """Milliseconds after one has left, and after one has joined."""
    with wire.Connection(address) as c:
        find_coordinator(c)
    sel = selectors.DefaultSelector()
    members = []

    def more():
        m = Member(address)
        sel.register(m.s, selectors.EVENT_READ, m)
        members.append(m)
        m.join()
    for _ in range(args.members):
        more()
    _, generation = settle(members, sel, 0)
    members.pop().leave()
    left, generation = settle(members, sel, generation)
    more()
    joined, generation = settle(members, sel, generation)
    for m in members:
        m.leave()
        m.s.close()
    return 1000 * left, 1000 * joined


def measure_commits(_, address):
    """Acknowledged a second."""
    with wire.Connection(address) as c:
        c.create_topic(TOPIC, PARTITIONS)
        find_coordinator(c)
        commit_all(c, 1, 1)
    sel = selectors.DefaultSelector()
    conns = [Member(address) for _ in range(32)]
    for i, m in enumerate(conns):
        m.number = i
        sel.register(m.s, selectors.EVENT_READ, m)
        m.send(COMMIT, 7, commit_body(f"group-{i}", [i % PARTITIONS], 1))
    done, begin, seconds = 0, time.monotonic(), 10
    while time.monotonic() - begin < seconds:
        for key, _ in sel.select(0.1):
            for _ in key.data.answers():
                done += 1
                key.data.send(COMMIT, 7, commit_body(f"group-{key.data.number}", [key.data.number], done))
    for m in conns:
        m.s.close()
    return (done / seconds,)


def in_turns(t, args, what, measure, names):
    """Of each name its figure, ours and, with --kafka, Apache Kafka's."""
    if args.address:
        figures = {args.address: [measure(args, args.address)]}
    else:
        ours = broker.Broker(t, name=what, sets={"group.initial.rebalance.delay.ms": "0", "max.connections": "20000"}).start()
        addresses = {"millrace": ours.address}
        if args.kafka:
            addresses["Kafka"] = peer_kafka.Kafka(t, name=what + "-kafka").start().address
            measure(args, addresses["Kafka"])  # a virtual machine warms up
        order = list(addresses)
        figures = {who: [] for who in order}
        for turn in range(max(args.kafka, 1)):
            for who in order if turn % 2 == 0 else reversed(order):
                figures[who].append(measure(args, addresses[who]))
    for i, name in enumerate(names):
        medians = {who: statistics.median(f[i] for f in fs) for who, fs in figures.items()}
        line = f"{what}: {name}: " + ", ".join(f"{who} {m:.0f}" for who, m in medians.items())
        if args.kafka:
            ratio = statistics.median(b[i] / a[i] for a, b in zip(figures["millrace"], figures["Kafka"]))
            line += f"; Kafka / millrace {ratio:.2f}"
        print(line)


def rebalance(t, args):
    in_turns(t, args, "rebalance", measure_rebalance,
             (f"ms until {args.members - 1} members rest after one has left", "ms after one has joined"))


def commits(t, args):
    in_turns(t, args, "commits", measure_commits, ("a second, 32 connections",))


def waiting(t, args):
    b = broker.Broker(t, name="waiting", sets={"max.connections": "20000"}).start()
    with wire.Connection(b.address) as c:
        c.create_topic(TOPIC, PARTITIONS)
        checks.wait_until("the topic", lambda: c.metadata([TOPIC])[TOPIC] == (0, PARTITIONS))
    before = b.rss_bytes()
    conns = [Member(b.address) for _ in range(args.waiting)]
    for i, m in enumerate(conns):
        m.send(1, 4, struct.pack(">iiiib", -1, 10000, 1, 1 << 20, 0) + struct.pack(">i", 1) + wire.string(TOPIC)
               + struct.pack(">iiqi", 1, i % PARTITIONS, 0, 1 << 20))
    time.sleep(2)
    used, begin = b.cpu_s(), time.monotonic()
    time.sleep(5)
    used, took = b.cpu_s() - used, time.monotonic() - begin
    print(f"waiting: {args.waiting} consumers: {100 * used / took:.2f} % of a core, "
          f"{(b.rss_bytes() - before) / args.waiting:.0f} bytes each")


def main(t):
    parts = {"restart": restart, "rebalance": rebalance, "commits": commits, "waiting": waiting}
    ap = argparse.ArgumentParser()
    ap.add_argument("parts", nargs="*", choices=[[], *parts])
    ap.add_argument("--groups", type=int, default=1000)
    ap.add_argument("--offsets", type=int, default=100000)
    ap.add_argument("--members", type=int, default=1000)
    ap.add_argument("--waiting", type=int, default=10000)
    ap.add_argument("--address")
    ap.add_argument("--kafka", type=int, nargs="?", const=4, default=0)
    args = ap.parse_args(OWN)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for name in args.parts or parts:
        with t.check(f"measured: {name}"):
            parts[name](t, args)


if __name__ == "__main__":
    OWN, sys.argv[1:] = sys.argv[1:], []
    checks.run(main)
