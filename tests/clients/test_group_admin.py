#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Groups and committed offsets are deleted: by hand on both transports, and by an admin client."""
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import matrix  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, DELETE_GROUPS, OFFSET_DELETE = 8, 9, 10, 11, 42, 47
LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, GROUP_SUBSCRIBED_TO_TOPIC = 68, 69, 86
SUBSCRIPTION = struct.pack(">hi", 0, 1) + wire.string("read") + struct.pack(">i", -1)

CLIENT = """
import sys
from confluent_kafka.admin import AdminClient
a = AdminClient({"bootstrap.servers": sys.argv[1]})
for group, f in a.delete_consumer_groups(sys.argv[2:], request_timeout=30).items():
    e = f.exception(60)
    print(group, e.args[0].name() if e else "NONE")
"""


def find_coordinator(c, group):
    r = c.ask(FIND_COORDINATOR, 0, wire.string(group))
    return r.i16() == 0


def commit(c, group, topic, offsets):
    """{partition: error}; as one that is no member."""
    parts = wire.array([struct.pack(">iq", p, o) + wire.string("") for p, o in offsets.items()])
    r = c.ask(OFFSET_COMMIT, 2, wire.string(group) + struct.pack(">i", -1) + wire.string("") +
              struct.pack(">q", -1) + wire.array([wire.string(topic) + parts]))
    assert r.i32() == 1
    r.string()
    return dict((r.i32(), r.i16()) for _ in range(r.i32()))


def committed(c, group, topic, partitions):
    """{partition: offset}; -1: none"""
    r = c.ask(OFFSET_FETCH, 1, wire.string(group) +
              wire.array([wire.string(topic) + wire.array([struct.pack(">i", p) for p in partitions])]))
    found = {}
    for _ in range(r.i32()):
        r.string()
        for _ in range(r.i32()):
            p, offset = r.i32(), r.i64()
            r.string()
            error = r.i16()
            assert error == 0, f"error {error}"
            found[p] = offset
    return found


def delete_offsets(c, group, topic, partitions):
    """(error, {partition: error})"""
    r = c.ask(OFFSET_DELETE, 0, wire.string(group) +
              wire.array([wire.string(topic) + wire.array([struct.pack(">i", p) for p in partitions])]))
    error, _ = r.i16(), r.i32()
    answers = {}
    for _ in range(r.i32()):
        assert r.string() == topic
        answers.update((r.i32(), r.i16()) for _ in range(r.i32()))
    return error, answers


def delete_groups(c, groups, version=1):
    """{group: error}"""
    r = c.ask(DELETE_GROUPS, version, wire.array([wire.string(g) for g in groups]))
    r.i32()
    return dict((r.string(), r.i16()) for _ in range(r.i32()))


def join(c, group):
    """The one member, whose subscription is to "read"; its connection waits for the answer."""
    body = wire.string(group) + struct.pack(">ii", 30000, 30000) + wire.string("") + wire.string("consumer")
    r = c.ask(JOIN_GROUP, 2, body + wire.array([wire.string("range") + struct.pack(">i", len(SUBSCRIPTION)) +
                                           SUBSCRIPTION]))
    r.i32()
    error = r.i16()
    assert error == 0, f"join: error {error}"


def by_hand(t, b, name):
    with wire.Connection(b.address) as c, wire.Connection(b.address) as member:
        for topic in ("read", "other"):
            assert c.create_topic(topic, 3) == 0
        checks.wait_until("a coordinator", lambda: find_coordinator(c, "g"))
        checks.wait_until("groups are loaded", lambda: commit(c, "g", "read", {0: 1}) == {0: 0})
        with t.check(f"{name}: offsets that are deleted are gone, others stay"):
            assert commit(c, "g", "read", {0: 10, 1: 11, 2: 12}) == {0: 0, 1: 0, 2: 0}
            assert delete_offsets(c, "g", "read", [1, 2]) == (0, {1: 0, 2: 0})
            assert committed(c, "g", "read", [0, 1, 2]) == {0: 10, 1: -1, 2: -1}
        with t.check(f"{name}: what does not exist is said"):
            assert delete_offsets(c, "none", "read", [0]) == (GROUP_ID_NOT_FOUND, {})
            assert delete_offsets(c, "g", "read", [9]) == (0, {9: wire.UNKNOWN_TOPIC_OR_PARTITION})
            assert delete_groups(c, ["none"]) == {"none": GROUP_ID_NOT_FOUND}
        with t.check(f"{name}: a group at work keeps what it reads, and itself"):
            assert commit(c, "busy", "read", {0: 1}) == {0: 0} and commit(c, "busy", "other", {0: 2}) == {0: 0}
            join(member, "busy")
            assert delete_offsets(c, "busy", "read", [0]) == (0, {0: GROUP_SUBSCRIBED_TO_TOPIC})
            assert delete_offsets(c, "busy", "other", [0]) == (0, {0: 0})
            assert committed(c, "busy", "read", [0]) == {0: 1}
            assert delete_groups(c, ["busy", "busy"]) == {"busy": NON_EMPTY_GROUP}
        with t.check(f"{name}: a deleted group is gone with its offsets"):
            assert commit(c, "h", "read", {0: 5}) == {0: 0}
            assert delete_groups(c, ["h", "none", "h"], 0) == {"h": 0, "none": GROUP_ID_NOT_FOUND}
            assert committed(c, "h", "read", [0]) == {0: -1}
            assert delete_groups(c, ["h"]) == {"h": GROUP_ID_NOT_FOUND}


def restarted(t, transport, name):
    b = transport.broker
    with t.check(f"{name}: so it is after kill -9"):
        b.kill()
        transport.start()
        with wire.Connection(b.address) as c:
            def loaded():
                return delete_offsets(c, "none", "read", [0])[0] not in (LOADING, NOT_AVAILABLE, NOT_COORDINATOR)
            checks.wait_until("groups are loaded", loaded)
            assert committed(c, "g", "read", [0, 1, 2]) == {0: 10, 1: -1, 2: -1}
            assert committed(c, "h", "read", [0]) == {0: -1}
            assert delete_groups(c, ["h"]) == {"h": GROUP_ID_NOT_FOUND}
            assert commit(c, "mine", "read", {0: 7}) == {0: 0}


def by_client(t, transport, name):
    python = matrix.python_with("librdkafka", matrix.LIBRDKAFKA)
    with t.check(f"{name}: by the admin client of confluent_kafka"):
        prefix = transport.space.prefix() if transport.space else []
        out = subprocess.run([*prefix, python, "-c", CLIENT, transport.broker.address, "mine", "none"],
                             stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
        assert sorted(out.splitlines()) == ["mine NONE", "none GROUP_ID_NOT_FOUND"], out


def main(t):
    for name in ("kernel", "tap"):
        transport = netns.TRANSPORTS[name](t, {"offsets.topic.num.partitions": "4",
                                              "group.initial.rebalance.delay.ms": "0",
                                              "log.dirs": os.path.join(t.dir, name)}).start()
        with transport.client_side():
            by_hand(t, transport.broker, name)
            restarted(t, transport, name)
            by_client(t, transport, name)
        transport.broker.stop()


if __name__ == "__main__":
    checks.run(main)
