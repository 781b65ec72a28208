#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in the middle of rebalances: members notice no more than a retry. Members come and go while records flow,
and the broker is killed at a random moment after each change. In the end everything was read, nothing was read again
from before a commit that was acknowledged, and no member was told of anything but a lost connection."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import threading  # noqa: E402
import time  # noqa: E402

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

ROUNDS = 6
PARTITIONS = 12
MEMBERS = 3
TOPIC, GROUP = "flow", "readers"
# What a client says when its connection is gone and it tries again.
CONNECTION = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}
# What a commit may be answered while the group changes, or the coordinator is away: the next one counts.
COMMIT_LATER = CONNECTION | {
    KafkaError._NO_OFFSET, KafkaError._WAIT_COORD, KafkaError._ASSIGNMENT_LOST, KafkaError._STATE,
    KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}


class Book:
    """What all members have read and committed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.read = {p: set() for p in range(PARTITIONS)}
        self.committed = {p: 0 for p in range(PARTITIONS)}
        self.again = []   # read below what had been committed when it was fetched
        self.errors = []  # that a member was told

    def saw(self, m, floor):
        with self.lock:
            if m.offset() < floor:
                self.again.append((m.partition(), m.offset(), floor))
            self.read[m.partition()].add(m.offset())

    def count(self):
        with self.lock:
            return sum(map(len, self.read.values()))


class Member:
    def __init__(self, address, book):
        self.book = book
        self.ending = threading.Event()
        self.floor = {}  # by partition: committed by anybody before it was assigned to this member
        self.consumer = Consumer({
            "bootstrap.servers": address, "group.id": GROUP, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
            "partition.assignment.strategy": "cooperative-sticky", "reconnect.backoff.ms": 5,
            "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 50, "error_cb": self.on_error, "log_level": 2})
        self.consumer.subscribe([TOPIC], on_assign=self.on_assign)
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def on_error(self, e):
        if e.fatal() or e.code() not in CONNECTION:
            self.book.errors.append(str(e))

    def on_assign(self, _, partitions):
        with self.book.lock:
            for p in partitions:
                self.floor[p.partition] = self.book.committed[p.partition]

    def work(self):
        unsaved = {}
        while not self.ending.is_set():
            m = self.consumer.poll(0.05)
            if m is not None and m.error():
                self.on_error(m.error())
            elif m is not None:
                self.book.saw(m, self.floor.get(m.partition(), 0))
                unsaved[m.partition()] = m.offset() + 1
            if unsaved and (m is None or len(unsaved) >= 4):
                self.commit(unsaved)
                unsaved = {}
        self.consumer.close()

    def commit(self, offsets):
        try:
            done = self.consumer.commit(
                offsets=[TopicPartition(TOPIC, p, o) for p, o in offsets.items()], asynchronous=False)
        except KafkaException as e:
            if e.args[0].code() not in COMMIT_LATER:
                self.book.errors.append(f"commit: {e}")
            return
        with self.book.lock:
            for p in done:
                if not p.error:
                    self.book.committed[p.partition] = max(self.book.committed[p.partition], p.offset)

    def end(self):
        self.ending.set()
        self.thread.join()


def change(t, members, address, book):
    """One comes or goes: a rebalance begins."""
    if len(members) > MEMBERS - 1 and t.random.random() < 0.5:
        leaver = members.pop(t.random.randrange(len(members)))
        leaver.ending.set()
        return [leaver]
    members.append(Member(address, book))
    return []


def main(t):
    b = broker.Broker(t, sets={"group.initial.rebalance.delay.ms": "200"}).start()
    kcat.create_topic(b.address, TOPIC, PARTITIONS)
    book, gone, sent = Book(), [], 0
    stream = kcat.Deliveries(b.address, enable_idempotence=True, reconnect_backoff_ms=5, reconnect_backoff_max_ms=100)
    members = [Member(b.address, book) for _ in range(MEMBERS)]
    rounds = t.rounds or ROUNDS
    try:
        with t.check(f"members come and go, and the broker is killed amid it, {rounds} times"):
            for _ in range(rounds):
                for _ in range(600):
                    stream.send(TOPIC, b"%d" % sent, partition=sent % PARTITIONS)
                    sent += 1
                want = book.count() + t.random.randrange(1, 300)
                checks.wait_until(f"{want} records are read", lambda: book.count() >= want, 120)
                gone += change(t, members, b.address, book)
                time.sleep(t.random.random() * 0.4)  # where in the rebalance it dies
                b.kill()
                b.start()
        with t.check("everything that was sent is read"):
            stream.finish()
            checks.wait_until("all is read", lambda: book.count() >= sent, 120)
            for p, offsets in book.read.items():
                assert offsets == set(range(len(offsets))), f"partition {p}: not every offset was read"
        with t.check("nothing is read again that was committed when its partition was assigned"):
            assert not book.again, "partition %d: offset %d, %d was committed" % book.again[0]
        with t.check("no member was told of anything but lost connections"):
            assert not book.errors, book.errors[0]
    finally:
        for m in members + gone:
            m.end()
    print(f"      {sent} records, {len(members)} members in the end")


if __name__ == "__main__":
    checks.run(main)
