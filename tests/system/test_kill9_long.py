#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments, again and again, with everything going on at once: topics of one and of 1,000
partitions, rolls, retention by size, DeleteRecords, compaction. After every start a checker that knows what was
acknowledged and what was ever seen looks for anything lost, changed, reordered or invented.

    test_kill9_long.py [--rounds N] [--seed N]        ten rounds; 200 take about ten minutes
"""
import collections
import hashlib
import math
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import threading  # noqa: E402
import time  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402

ROUNDS = 6  # more by --rounds
KEYS = 40
VALUE_MAX = 3000
OPEN_MAX = 1500  # sent and not yet reported
BESIDE = 3000    # sent while what is there is read; without an end to it, reading would never catch up
SAMPLE = 100     # partitions of the large topic that are looked at in a round; all of them in every tenth
PADDING = random.Random(9).randbytes(1 << 16)

Kind = collections.namedtuple("Kind", "name partitions share config")
KINDS = (
    Kind("one", 1, 45, {"segment.bytes": "1048576"}),
    Kind("many", 1000, 25, {"segment.ms": "1000"}),
    Kind("kept", 3, 15, {"segment.bytes": "1048576", "segment.ms": "400", "retention.bytes": "1048576"}),
    Kind("cleaned", 2, 15, {"cleanup.policy": "compact", "segment.bytes": "1048576", "segment.ms": "300",
                            "min.cleanable.dirty.ratio": "0.01"}),
)
SETS = {
    "log.retention.check.interval.ms": "100",
    "log.cleaner.backoff.ms": "100",
    "log.initial.task.delay.ms": "10",
}


def value_of(topic, partition, seq):
    """Partition and number decide every byte: nothing has to be remembered, and nothing can be invented."""
    head = b"%s.%d.%d." % (topic.encode(), partition, seq)
    h = int.from_bytes(hashlib.blake2b(head, digest_size=8).digest(), "big")
    size = h % 200 if h >> 60 < 12 else h % VALUE_MAX
    at = (h >> 20) % (len(PADDING) - VALUE_MAX)
    return head + PADDING[at:at + size]


def key_of(topic, partition, seq):
    h = hashlib.blake2b(b"%s.%d.%d" % (topic.encode(), partition, seq), digest_size=4).digest()
    return b"k%d" % (int.from_bytes(h, "big") % KEYS)


class Partition:
    """What is known of one: numbers sent, and what is at which offset."""

    def __init__(self, kind, number):
        self.kind, self.number = kind, number
        self.compacted = kind.name == "cleaned"
        self.sent = 0
        self.known = {}      # offset: number; acknowledged, or seen once
        self.latest = {}     # compacted: key: largest known offset
        self.fates = {}      # number: acknowledged at which offset; None: reported as failed
        self.start = 0       # it starts here or later
        self.trimmed = 0     # by DeleteRecords up to here, perhaps

    def learn(self, offset, seq):
        old = self.known.setdefault(offset, seq)
        assert old == seq, f"{self}: number {seq} at offset {offset}, where {old} was before"
        if self.compacted:
            key = key_of(self.kind.name, self.number, seq)
            self.latest[key] = max(self.latest.get(key, -1), offset)

    def __str__(self):
        return f"{self.kind.name}-{self.number}"


class Load:
    """Sends numbered values to random partitions, as fast as it can up to a limit, each once: no retries, so a record
    is there at most once, and in order. What becomes of one whose connection breaks is open."""

    def __init__(self, address, seed):
        self.random = random.Random(seed)
        self.parts = {k.name: [Partition(k, p) for p in range(k.partitions)] for k in KINDS}
        self.names = [k.name for k in KINDS for _ in range(k.share)]
        self.lock = threading.Lock()
        self.acked = self.failed = self.open = self.sent = 0
        self.limit = math.inf  # it rests when so much is sent
        self.wrong = []
        self.ending = threading.Event()
        self.producer = kcat.Producer({
            "bootstrap.servers": address, "acks": "all", "retries": 0, "linger.ms": 1,
            "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 50, "message.timeout.ms": 60000,
            "log_level": 2, "topic.metadata.refresh.interval.ms": 200, "queue.buffering.max.messages": 100000})
        self.thread = threading.Thread(target=self.work)

    def reported(self, part, seq):
        def on_delivery(err, msg):
            with self.lock:
                self.open -= 1
                part.fates[seq] = None if err else msg.offset()
                if err:
                    self.failed += 1
                    return
                self.acked += 1
                try:
                    part.learn(msg.offset(), seq)
                except AssertionError as e:
                    self.wrong.append(str(e))
        return on_delivery

    def send(self):
        name = self.random.choice(self.names)
        part = self.random.choice(self.parts[name])
        with self.lock:
            seq = part.sent
            part.sent += 1
            self.open += 1
            self.sent += 1
        key = key_of(name, part.number, seq) if part.compacted else None
        self.producer.produce(name, value_of(name, part.number, seq), key, part.number,
                              on_delivery=self.reported(part, seq))

    def work(self):
        while not self.ending.is_set():
            if self.open >= OPEN_MAX or self.sent >= self.limit:
                self.producer.poll(0.01)
                continue
            for _ in range(20):
                self.send()
            self.producer.poll(0)

    def end(self):
        self.ending.set()
        self.thread.join()
        if self.producer.flush(90):
            self.wrong.append("some records were never reported on")


class Checker:
    def __init__(self, load, b):
        self.load, self.broker = load, b
        self.records = self.trimmed = self.retained = self.compacted = 0

    def check(self, name, which):
        """Reads the partitions and holds them to what is known."""
        parts = self.load.parts[name]
        with self.load.lock:
            must = {p: max(parts[p].known, default=-1) for p in which}
            known = {p: dict(parts[p].known) for p in which}
        found = kcat.by_partition(kcat.read_all(self.broker.address, name, which, log_level=2))
        self.records += sum(map(len, found.values()))
        kept = name == "kept"
        starts = kcat.log_starts(self.broker.address, name, which, log_level=2) if kept else {}
        for p in which:
            with self.load.lock:
                if parts[p].compacted:
                    self.check_compacted(parts[p], found.get(p, []), known[p])
                else:
                    records = self.from_start(parts[p], found.get(p, []), starts.get(p, 0))
                    self.check_dense(parts[p], records, must[p])

    @staticmethod
    def number_of(part, r):
        """The number of a record that was sent to this partition; says so when it was not."""
        seq = int(r.value.split(b".", 3)[2]) if r.value.count(b".", 0, 40) >= 3 else -1
        assert 0 <= seq < part.sent, f"{part}: invented {r.value[:40]!r} at offset {r.offset}"
        assert r.value == value_of(part.kind.name, part.number, seq), f"{part}: number {seq} is changed"
        return seq

    def check_order(self, part, records):
        numbers = [self.number_of(part, r) for r in records]
        for i in range(1, len(records)):
            assert records[i].offset > records[i - 1].offset, f"{part}: offset {records[i].offset} comes again"
            assert numbers[i] > numbers[i - 1], \
                f"{part}: number {numbers[i]} at {records[i].offset} after {numbers[i - 1]}: " + \
                self.surroundings(part, records, numbers, i)
        for r, seq in zip(records, numbers):
            part.learn(r.offset, seq)

    def surroundings(self, part, records, numbers, i):
        """What is known of the records around i, and the batches that they are in."""
        near = range(max(i - 6, 0), min(i + 6, len(records)))
        said = [f"{numbers[k]} at {records[k].offset}, reported {part.fates.get(numbers[k], 'not')}" for k in near]
        with wire.Connection(self.broker.address) as c:
            _, _, data = c.fetch(part.kind.name, {part.number: records[near[0]].offset})[part.number]
        at = 0
        while at + 61 <= len(data):
            base, size, epoch = struct.unpack_from(">qii", data, at)
            last, first_ms = struct.unpack_from(">iq", data, at + 23)
            said.append(f"batch {base} to {base + last} of epoch {epoch}, made at {first_ms}")
            at += 12 + size
        return "; ".join(said[:40])

    def from_start(self, part, records, start):
        """Without those that retention removed while they were read, so that the reader had to begin again."""
        for i in range(len(records) - 1, 0, -1):
            if records[i].offset != records[i - 1].offset + 1:
                assert records[i].offset <= start, \
                    f"{part}: offset {records[i].offset} after {records[i - 1].offset}; it starts at {start}"
                self.check_order(part, records[:i])
                return records[i:]
        return records

    def check_dense(self, part, records, last):
        self.check_order(part, records)
        for i, r in enumerate(records):
            assert r.offset == records[0].offset + i, f"{part}: offset {r.offset} after {records[i - 1].offset}"
        end = records[-1].offset if records else -1
        lowest_lost = min((o for o in part.known if end < o <= last and o >= part.trimmed), default=None)
        assert lowest_lost is None, f"{part}: ends at {end}; {lowest_lost} to {last} were acknowledged"
        if not records:
            return
        start = records[0].offset
        most = start if part.kind.name == "kept" else part.trimmed
        assert part.start <= start <= most, f"{part}: starts at {start}, not from {part.start} to {most}"
        if start > part.start and part.kind.name == "kept":
            self.retained += start - part.start
        part.start = start
        for o in [o for o in part.known if o < start]:
            del part.known[o]

    def check_compacted(self, part, records, known):
        """Each known record is there, or a later one with its key is."""
        self.check_order(part, records)
        there = {r.offset for r in records}
        latest = {}
        for r in records:
            seq = part.known[r.offset]
            assert r.key == key_of(part.kind.name, part.number, seq), f"{part}: key of {r.offset} is changed"
            latest[r.key] = r.offset
        for offset, seq in known.items():
            key = key_of(part.kind.name, part.number, seq)
            assert offset in there or latest.get(key, -1) > offset, \
                f"{part}: offset {offset} with {key} is lost; the last with it is at {latest.get(key)}"
            if offset not in there:
                self.compacted += 1
                del part.known[offset]  # it was there to be cleaned away


def trims_work(address):
    """Whether DeleteRecords moves the start of a log."""
    with wire.Connection(address) as c:
        if wire.DELETE_RECORDS not in c.api_versions():
            return False
        assert c.create_topic("trim-probe", 1) == 0
        checks.wait_until("the probe's topic", lambda: c.metadata(["trim-probe"])["trim-probe"] == (0, 1))
        error, _ = c.produce("trim-probe", 0, wire.batch([b"a", b"b", b"c"]))
        assert error == 0, f"error {error}"
        return c.delete_records("trim-probe", {0: 2})[0] == (0, 2)


class Trimmer:
    """DeleteRecords on random partitions."""

    def __init__(self, load, address, rnd):
        self.load, self.address, self.random = load, address, rnd
        self.done = 0

    def trim(self):
        name = self.random.choice(("one", "many", "many", "kept"))
        which = self.random.sample(self.load.parts[name], min(20, len(self.load.parts[name])))
        offsets = {}
        with self.load.lock:
            for part in which:
                end = max(part.known, default=-1) + 1
                if end > 0:
                    offsets[part.number] = self.random.randrange(end + 1)
                    part.trimmed = max(part.trimmed, offsets[part.number])
        if not offsets:
            return
        try:
            with wire.Connection(self.address) as c:
                answers = c.delete_records(name, offsets)
        except (wire.Closed, OSError):
            return  # killed in between: what becomes of it is open
        with self.load.lock:
            for p, (error, low) in answers.items():
                if error != 0 or low < offsets[p]:
                    self.load.wrong.append(f"DeleteRecords of {name}-{p} at {offsets[p]}: error {error}, starts at {low}")
                    continue
                self.load.parts[name][p].start = max(self.load.parts[name][p].start, offsets[p])
                self.done += 1


def one_round(t, b, load, trimmer):
    """Load, until a kill at a random moment; sometimes one more in the middle of the start."""
    load.limit = math.inf
    want = load.acked + load.failed + t.random.randrange(1, 2500)
    checks.wait_until(f"{want} reports", lambda: load.acked + load.failed >= want or not b.alive(), 120, 0.002)
    assert b.alive(), "the broker has ended by itself"
    trim = threading.Thread(target=trimmer.trim) if trimmer and t.random.random() < 0.7 else None
    if trim:
        trim.start()
        time.sleep(t.random.random() * 0.02)
    b.kill()
    if trim:
        trim.join()
    if t.random.random() < 0.25:
        b.spawn()
        time.sleep(t.random.random() * 0.08)
        b.kill()
    b.start()
    load.limit = load.sent + BESIDE


def topics(b):
    for k in KINDS:
        kcat.create_topic(b.address, k.name, k.partitions, k.config)


def check_all(t, load, checker, every):
    for k in KINDS:
        which = list(range(k.partitions))
        if not every and k.partitions > SAMPLE:
            which = sorted(t.random.sample(which, SAMPLE))
        checker.check(k.name, which)
    assert not load.wrong, load.wrong[0]


def main(t):
    rounds = t.rounds or ROUNDS
    b = broker.Broker(t, sets=SETS).start()
    topics(b)
    with t.check("whether DeleteRecords is there is known"):
        trims = trims_work(b.address)
    load = Load(b.address, t.seed)
    checker = Checker(load, b)
    trimmer = Trimmer(load, b.address, t.random) if trims else None
    load.thread.start()
    try:
        with t.check(f"nothing lost, changed, reordered or invented in {rounds} kills"):
            for n in range(rounds):
                one_round(t, b, load, trimmer)
                check_all(t, load, checker, n % 10 == 9)
                if n % 20 == 19:
                    print(f"      {n + 1} kills, {load.acked} acknowledged", flush=True)
    finally:
        load.end()
    with t.check("the same when all has come to rest, and after a clean stop and start"):
        check_all(t, load, checker, True)
        code, _ = b.stop()
        assert code == 0, f"exit code {code}"
        b.start()
        check_all(t, load, checker, True)
    print(f"      {load.acked} acknowledged, {load.failed} of open fate, {checker.records} read and compared,"
          f" {trimmer.done if trimmer else 0} trims, {checker.retained} offsets removed by retention,"
          f" {checker.compacted} records by compaction")


if __name__ == "__main__":
    checks.run(main)
