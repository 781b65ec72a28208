#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Log directories, topics in pages, elections and reassignments, as tools ask for them."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import matrix  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

KAFKA_PYTHON = """
import sys
from kafka.admin import KafkaAdminClient
a = KafkaAdminClient(bootstrap_servers=sys.argv[1])
print(a.describe_log_dirs())
print(a.describe_topic_partitions(["t"]))
print(a.list_partition_reassignments())
"""

LIBRDKAFKA = """
import sys
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient
a = AdminClient({"bootstrap.servers": sys.argv[1]})
r = a.elect_leaders(ElectionType.PREFERRED, [TopicPartition("t", 0), TopicPartition("t", 99)]).result(60)
print(*sorted((tp.partition, e.name() if e else "NONE") for tp, e in r.items()))
"""


def run(t, transport, python, code):
    prefix = transport.space.prefix() if transport.space else []
    return subprocess.run([*prefix, python, "-c", code, transport.broker.address], stdout=subprocess.PIPE,
                          text=True, timeout=120, check=True).stdout.strip()


def log_dirs(c, topics):
    """[(error, dir, {(topic, partition): bytes})] by version 1; topics None: all."""
    body = wire.int32(-1) if topics is None else wire.array(
        [wire.string(name) + wire.array([wire.int32(p) for p in parts]) for name, parts in topics.items()])
    r = c.ask(wire.DESCRIBE_LOG_DIRS, 1, body)
    r.i32()
    found = []
    for _ in range(r.i32()):
        error, path, sizes = r.i16(), r.string(), {}
        for _ in range(r.i32()):
            name = r.string()
            for _ in range(r.i32()):
                p, size, lag = r.i32(), r.i64(), r.i64()
                assert r.take(1) == b"\0" and lag == 0
                sizes[(name, p)] = size
        found.append((error, path, sizes))
    return found


def sizes(t, transport, name):
    b = transport.broker
    with wire.Connection(b.address) as c:
        assert c.create_topic("t", 3) == 0 and c.create_topic("empty", 1) == 0
        batch = wire.batch([b"x" * 1000] * 20)
        for _ in range(10):
            assert c.produce("t", 1, batch)[0] == 0
        with t.check(f"{name}: the size of each log is what was appended to it"):
            (error, path, found), = log_dirs(c, None)
            assert error == 0 and path == b.data, (error, path)
            want = {("t", 0): 0, ("t", 1): 10 * len(batch), ("t", 2): 0, ("empty", 0): 0}
            assert {k: v for k, v in found.items() if k[0] in ("t", "empty")} == want, found
        with t.check(f"{name}: only what is asked for is told"):
            (_, _, found), = log_dirs(c, {"t": [1, 7], "none": [0]})
            assert found == {("t", 1): 10 * len(batch)}, found
        with t.check(f"{name}: sizes are the same after kill -9"):
            b.kill()
            transport.start()
            with wire.Connection(b.address) as again:
                (_, _, found), = log_dirs(again, {"t": [1]})
                assert found == {("t", 1): 10 * len(batch)}, found


def by_clients(t, transport, name):
    with t.check(f"{name}: log directories, topics and reassignments by kafka-python"):
        out, topic, moves = run(t, transport, matrix.python_with("kafka-python", *matrix.KAFKA_PYTHON),
                                KAFKA_PYTHON).splitlines()
        assert transport.broker.data in out and "empty" in out, out
        assert "'partition_index': 2" in topic and moves in ("[]", "{}"), (topic, moves)
    with t.check(f"{name}: elections by confluent_kafka"):
        out = run(t, transport, matrix.python_with("librdkafka", matrix.LIBRDKAFKA), LIBRDKAFKA)
        assert out == "(0, 'ELECTION_NOT_NEEDED') (99, 'UNKNOWN_TOPIC_OR_PART')", out


def main(t):
    for name in ("kernel", "tap"):
        transport = netns.TRANSPORTS[name](t, {"log.dirs": os.path.join(t.dir, name), "shards": "2"},
                                           data=os.path.join(t.dir, name)).start()
        with transport.client_side():
            sizes(t, transport, name)
            by_clients(t, transport, name)
        transport.broker.stop()


if __name__ == "__main__":
    checks.run(main)
