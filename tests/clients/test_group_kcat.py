#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Consumer groups with kcat -G: sharing, takeover, going on after a restart, a second group."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import collections  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

PARTITIONS = 12
TOPIC = "shared"
GROUP = "readers"


class Script:
    def __init__(self, t):
        self.t = t
        self.broker = broker.Broker(t).start()
        self.sent = 0
        kcat.create_topic(self.broker.address, TOPIC, PARTITIONS)

    def member(self, name, group=GROUP):
        return kcat.Member(self.t, name, self.broker.address, group, TOPIC)

    def produce(self, n):
        """n records, to every partition in turn; their values as a set."""
        values = [b"%d" % (self.sent + i) for i in range(n)]
        self.sent += n
        d = kcat.Deliveries(self.broker.address)
        for i, v in enumerate(values):
            d.send(TOPIC, v, partition=i % PARTITIONS)
        d.finish()
        return set(values)


def split_evenly(members):
    shares = [m.assigned() for m in members]
    return sum(map(len, shares)) == PARTITIONS and len(set().union(*shares)) == PARTITIONS and \
        all(len(s) == PARTITIONS // len(members) for s in shares)


def wait_for_split(members, limit_s=90):
    checks.wait_until(f"{len(members)} members share {PARTITIONS} partitions, each once",
                      lambda: split_evenly(members), limit_s)


def wait_for_values(members, values, limit_s=60):
    def have():
        return values <= {r.value for m in members for r in m.records()}
    checks.wait_until("all records are read", have, limit_s, 0.1)


def readers_of(members, values):
    """{partition: [member index of each read]}, over the records in values."""
    readers = collections.defaultdict(list)
    for i, m in enumerate(members):
        for r in m.records():
            if r.value in values:
                readers[r.partition].append((i, r.value))
    return readers


def assert_each_once_by_one(members, values):
    readers = readers_of(members, values)
    assert len(readers) == PARTITIONS
    for p, reads in readers.items():
        assert len({i for i, _ in reads}) == 1, f"partition {p} has had {len({i for i, _ in reads})} readers"
        assert len(reads) == len({v for _, v in reads}), f"partition {p}: a record was read twice"


def main(t):
    s = Script(t)
    members = [s.member(f"member{i}") for i in range(3)]
    with t.check("three members share twelve partitions, four each"):
        wait_for_split(members)
    with t.check("each record is read once, each partition by one member"):
        values = s.produce(1200)
        wait_for_values(members, values)
        assert_each_once_by_one(members, values)
        for m in members:
            assert {r.partition for r in m.records()} <= m.assigned()
    with t.check("a member is killed: the other two take its partitions over"):
        members[2].kill()
        wait_for_split(members[:2])
        values = s.produce(1200)
        wait_for_values(members[:2], values)
        assert_each_once_by_one(members[:2], values)
    with t.check("a new member gets its share"):
        members[2] = s.member("member3")
        wait_for_split(members)
    with t.check("members go on over a restart of the broker"):
        code, _ = s.broker.stop()
        assert code == 0, f"exit code {code}"
        s.broker.start()
        values = s.produce(600)
        wait_for_values(members, values, 120)
    with t.check("stopped members have committed: after a restart a new member gets only what is new"):
        for m in members:
            m.stop()
        s.broker.stop()
        s.broker.start()
        values = s.produce(360)
        late = s.member("late")
        wait_for_values([late], values, 120)
        extra = [r for r in late.records() if r.value not in values]
        assert not extra, f"{len(extra)} records again, the first at {extra[0].partition}:{extra[0].offset}"
        assert len(late.records()) == 360
        late.stop()
    with t.check("a group that has crashed with the broker goes on where it had committed"):
        m = s.member("before")
        values = s.produce(240)
        wait_for_values([m], values)

        def committed():
            c = kcat.Consumer({"bootstrap.servers": s.broker.address, "group.id": GROUP})
            try:
                parts = [kcat.TopicPartition(TOPIC, p) for p in range(PARTITIONS)]
                return sum(p.offset for p in c.committed(parts, 30)) == s.sent
            finally:
                c.close()
        checks.wait_until("offsets are committed", committed, 60, 0.2)
        m.kill()
        s.broker.kill()
        s.broker.start()
        values = s.produce(240)
        m = s.member("after")
        wait_for_values([m], values, 120)
        assert {r.value for r in m.records()} == values, "records from before the commit came again"
        m.stop()
    with t.check("a second group gets everything from the start"):
        m = s.member("second", "others")
        wait_for_values([m], {b"%d" % i for i in range(s.sent)}, 120)
        assert len(m.records()) == s.sent
        m.stop()


if __name__ == "__main__":
    checks.run(main)
