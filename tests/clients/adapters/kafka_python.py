#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kafka-python, a client in pure Python; see tests/lib/matrix.py for what an adapter does."""
import json
import sys
import threading
import traceback

import kafka
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

LIMIT_MS = 60000
STRATEGIES = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


def say(**what):
    print(json.dumps(what), flush=True)


def features(o):
    say(name="kafka-python", version=kafka.__version__, codecs=["none", "gzip", "snappy", "lz4", "zstd"],
        strategies={"eager": "range", "cooperative": "cooperative-sticky"}, new_protocol=False, static=True, by_time=True,
        admin=["describe", "delete", "grow", "configs", "groups", "offsets", "delete_records", "delete_group",
               "delete_offsets"], serves=True)


def base(o):
    return {"bootstrap_servers": o["brokers"], "reconnect_backoff_max_ms": 500}


def produce(o):
    codec = o.get("codec", "none")
    p = kafka.KafkaProducer(**base(o), acks="all", linger_ms=5, compression_type=None if codec == "none" else codec)
    sent = []
    for i in range(o["count"]):
        sent.append(p.send(o["topic"], f"{o['prefix']}{i}".encode(), f"k{i % 50}".encode(),
                           partition=i % o["partitions"],
                           timestamp_ms=o["timestamp_ms"] + i if "timestamp_ms" in o else None))
    for f in sent:
        f.get(LIMIT_MS / 1000)
    p.close()
    say(acked=len(sent))


def record(r):
    say(record=[r.partition, r.offset, (r.key or b"").decode(), (r.value or b"").decode()])


def partitions(o):
    return [kafka.TopicPartition(o["topic"], p) for p in range(o["partitions"])]


def read(o):
    c = kafka.KafkaConsumer(**base(o), auto_offset_reset="none", enable_auto_commit=False)
    low, high = c.beginning_offsets(partitions(o)), c.end_offsets(partitions(o))
    left = {p: high[p] for p in partitions(o) if low[p] < high[p]}
    c.assign(list(left))
    for p in left:
        c.seek(p, low[p])
    while left:
        some = c.poll(LIMIT_MS)
        if not some:
            sys.exit(f"nothing more comes; {left} wanted")
        for p, records in some.items():
            for r in records:
                if r.offset < left.get(p, 0):
                    record(r)
                    if r.offset + 1 == left[p]:
                        del left[p]
    c.close()


class Owned(kafka.ConsumerRebalanceListener):
    def __init__(self):
        self.owned = set()

    def on_partitions_assigned(self, assigned):
        self.owned.update(p.partition for p in assigned)
        say(assigned=sorted(self.owned))

    def on_partitions_revoked(self, revoked):
        self.owned.difference_update(p.partition for p in revoked)
        say(assigned=sorted(self.owned))

    def on_partitions_lost(self, lost):
        self.on_partitions_revoked(lost)


def member(o):
    c = kafka.KafkaConsumer(**base(o), group_id=o["group"], auto_offset_reset="earliest", auto_commit_interval_ms=200,
                            session_timeout_ms=6000, heartbeat_interval_ms=500,
                            partition_assignment_strategy=[STRATEGIES[o["strategy"]]],
                            **({"group_instance_id": o["instance"]} if "instance" in o else {}))
    c.subscribe([o["topic"]], listener=Owned())
    wanted = threading.Thread(target=sys.stdin.read, daemon=True)
    wanted.start()
    while wanted.is_alive():
        for records in c.poll(100).values():
            for r in records:
                record(r)
    c.close()


def by_time(o):
    c = kafka.KafkaConsumer(**base(o))
    found = c.offsets_for_times({p: o["timestamp_ms"] for p in partitions(o)})
    say(offsets={str(p.partition): at.offset if at else -1 for p, at in found.items()})
    c.close()


class Steps:
    def __init__(self, o):
        self.a = kafka.KafkaAdminClient(**base(o))

    def create(self, topic, count, config):
        self.a.create_topics([NewTopic(topic, count, 1, topic_configs=config)])

    def list(self):
        return self.a.list_topics()

    def describe(self, topic):
        return len(self.a.describe_topics([topic])[0]["partitions"])

    def delete(self, topic):
        self.a.delete_topics([topic])

    def grow(self, topic, count):
        self.a.create_partitions({topic: count})

    def configs(self, topic):
        found = self.a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {k: e["value"] for k, e in found["topic"][topic].items()}

    def alter(self, topic, config):
        self.a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])

    def delete_records(self, topic, partition, offset):
        p = kafka.TopicPartition(topic, partition)
        return self.a.delete_records({p: offset})[p]["low_watermark"]

    def groups(self):
        return [g["group_id"] for g in self.a.list_groups()]

    def describe_group(self, group):
        g = self.a.describe_groups([group])[group]
        return {"state": g["group_state"], "members": len(g["members"])}

    def offsets(self, group, topic, count):
        wanted = [kafka.TopicPartition(topic, p) for p in range(count)]
        return {str(p.partition): at.offset for p, at in self.a.list_group_offsets({group: wanted})[group].items()}

    def delete_group(self, group):
        self.a.delete_groups([group])

    def delete_offsets(self, group, topic, partition):
        self.a.delete_group_offsets(group, [kafka.TopicPartition(topic, partition)])


def admin(o):
    steps = Steps(o)
    for name, *args in o["steps"]:
        try:
            say(result=getattr(steps, name)(*args))
        except errors.KafkaError as e:
            say(error=f"{type(e).__name__}: {e}")
    steps.a.close()


def serve(o):
    for line in sys.stdin:
        verb, options = json.loads(line)
        try:
            globals()[verb](options)
            say(exit=0)
        except (Exception, SystemExit):
            traceback.print_exc()
            say(exit=1)


if __name__ == "__main__":
    globals()[sys.argv[1]](json.loads(sys.argv[2]))
