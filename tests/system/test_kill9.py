#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in the middle of producing, again and again: what the client was told of is there, in order."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import threading  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

ROUNDS = 20
PARTITIONS = 4
TOPIC = "killed"


class Stream(kcat.Deliveries):
    """Sends numbered values to each partition without pause until told to end."""

    def __init__(self, address):
        # One request in flight: a producer that is not idempotent keeps its order only so.
        super().__init__(address, acks="all", max_in_flight_requests_per_connection=1, linger_ms=1,
                         retry_backoff_ms=20, reconnect_backoff_ms=10, reconnect_backoff_max_ms=100,
                         retries=1000000)
        self.next = [0] * PARTITIONS
        self.done = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def on_delivery(self, err, msg):
        super().on_delivery(err, msg)
        if not err:
            with self.changed:
                self.done.add(msg.value())

    def open_values(self):
        """Sent, and not yet reported as delivered."""
        with self.changed:
            return {b"%d.%d" % (p, i) for p in range(PARTITIONS) for i in range(self.next[p])} - self.done

    def work(self):
        i = 0
        while not self.ending.is_set():
            if sum(self.next) - self.count > 3000:
                self.producer.poll(0.01)
                continue
            p = i % PARTITIONS
            i += 1
            with self.changed:
                value = b"%d.%d" % (p, self.next[p])
                self.next[p] += 1
            self.send(TOPIC, value, partition=p)


def check_log(records, stream, may_repeat):
    kcat.assert_dense(records)
    at = {(r.partition, r.offset): r.value for r in records}
    for where, value in stream.delivered.items():
        assert at.get(where) == value, f"delivered {value!r} at {where}, found {at.get(where)!r}"
    repeated = 0
    for p, rs in kcat.by_partition(records).items():
        seen, expect = set(), 0
        for r in rs:
            if r.value in seen:
                repeated += 1
                assert r.value in may_repeat, f"{r.value!r} twice, and it was delivered before the kill"
                continue
            assert r.value == b"%d.%d" % (p, expect), f"partition {p}: {r.value!r} where {p}.{expect} belongs"
            seen.add(r.value)
            expect += 1
        assert expect == stream.next[p], f"partition {p}: {expect} of {stream.next[p]} values"
    return repeated


def main(t):
    b = broker.Broker(t, sets={"log.segment.bytes": str(2 << 20)}).start()
    kcat.create_topic(b.address, TOPIC, PARTITIONS)
    stream = Stream(b.address)
    may_repeat = set()
    stream.thread.start()
    try:
        with t.check(f"killed and started {ROUNDS} times while a producer goes on"):
            for _ in range(ROUNDS):
                want = stream.count + t.random.randrange(1, 6000)

                def enough():
                    with stream.changed:
                        stream.changed.wait_for(lambda: stream.count >= want or stream.errors, 0.5)
                    return stream.count >= want or stream.errors
                checks.wait_until(f"{want} deliveries", enough, 120, 0)
                assert not stream.errors, stream.errors[0]
                b.kill()
                may_repeat |= stream.open_values()
                b.start()
    finally:
        stream.ending.set()
        stream.thread.join()
    with t.check("everything that was sent is delivered in the end"):
        stream.finish()
    with t.check("what was delivered is at its offset, only retries repeat, order holds"):
        records = kcat.read_all(b.address, TOPIC, PARTITIONS)
        repeated = check_log(records, stream, may_repeat)
        print(f"      {len(stream.delivered)} delivered, {len(records)} in the log, {repeated} of them retries")
    with t.check("the same after a clean stop and start"):
        code, _ = b.stop()
        assert code == 0, f"exit code {code}"
        b.start()
        check_log(kcat.read_all(b.address, TOPIC, PARTITIONS), stream, may_repeat)


if __name__ == "__main__":
    checks.run(main)
