#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 while an idempotent producer goes on: nothing is there twice, nothing is missing, order holds."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import threading  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

ROUNDS = 12
PARTITIONS = 2
TOPIC = "once"
PAD = b"." * 3000  # so much that a note of the producers is kept


class Stream(kcat.Deliveries):
    """Sends numbered values to each partition, five requests in flight, until told to end."""

    def __init__(self, address):
        super().__init__(address, enable_idempotence=True, max_in_flight_requests_per_connection=5, linger_ms=1,
                         retry_backoff_ms=20, reconnect_backoff_ms=10, reconnect_backoff_max_ms=100)
        self.next = [0] * PARTITIONS
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        i = 0
        while not self.ending.is_set():
            if sum(self.next) - self.count > 2000:
                self.producer.poll(0.01)
                continue
            p = i % PARTITIONS
            i += 1
            self.send(TOPIC, b"%d.%d%s" % (p, self.next[p], PAD), partition=p)
            self.next[p] += 1


def check_log(records, stream):
    kcat.assert_dense(records)
    for p, rs in kcat.by_partition(records).items():
        assert len(rs) == stream.next[p], f"partition {p}: {len(rs)} records, {stream.next[p]} were sent"
        for i, r in enumerate(rs):
            assert r.value == b"%d.%d%s" % (p, i, PAD), f"partition {p}: {r.value[:20]!r} where {p}.{i} belongs"


def main(t):
    b = broker.Broker(t, sets={"log.segment.bytes": str(16 << 20)}).start()
    kcat.create_topic(b.address, TOPIC, PARTITIONS)
    stream = Stream(b.address)
    stream.thread.start()
    try:
        with t.check(f"killed and started {ROUNDS} times while an idempotent producer goes on"):
            for _ in range(ROUNDS):
                want = stream.count + t.random.randrange(1, 8000)
                checks.wait_until(f"{want} deliveries", lambda: stream.count >= want or stream.errors, 120, 0.002)
                assert not stream.errors, stream.errors[0]
                b.kill()
                b.start()
    finally:
        stream.ending.set()
        stream.thread.join()
    with t.check("everything that was sent is delivered in the end"):
        stream.finish()
    with t.check("each record is there once, in order"):
        records = kcat.read_all(b.address, TOPIC, PARTITIONS)
        check_log(records, stream)
        print(f"      {len(records)} records, {len(stream.twice)} reported twice")
        assert not stream.twice, stream.twice[0]
    with t.check("a second producer and the first go on after a clean stop and start"):
        code, _ = b.stop()
        assert code == 0, f"exit code {code}"
        b.start()
        for p in range(PARTITIONS):
            stream.send(TOPIC, b"%d.%d%s" % (p, stream.next[p], PAD), partition=p)
            stream.next[p] += 1
        stream.finish()
        other = kcat.Deliveries(b.address, enable_idempotence=True)
        for p in range(PARTITIONS):
            other.send(TOPIC, b"%d.%d%s" % (p, stream.next[p], PAD), partition=p)
            stream.next[p] += 1
        other.finish()
        check_log(kcat.read_all(b.address, TOPIC, PARTITIONS), stream)


if __name__ == "__main__":
    checks.run(main)
