#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""librdkafka through confluent_kafka; see tests/lib/matrix.py for what an adapter does."""
import json
import select
import sys

import confluent_kafka as ck
from confluent_kafka import admin as cka

LIMIT_S = 60


def say(**what):
    print(json.dumps(what), flush=True)


def features(o):
    version = ck.libversion()
    say(name="librdkafka", version=version[0], codecs=["none", "gzip", "snappy", "lz4", "zstd"],
        strategies={"eager": "range", "cooperative": "cooperative-sticky"}, new_protocol=version[1] >= 0x020C0000,
        static=True, by_time=True,
        admin=["describe", "delete", "grow", "configs", "groups"] +
        (["offsets"] if hasattr(cka.AdminClient, "list_consumer_group_offsets") else []) +
        (["delete_records"] if hasattr(cka.AdminClient, "delete_records") else []))


def base(o):
    return {"bootstrap.servers": o["brokers"], "reconnect.backoff.max.ms": 500}


def produce(o):
    failed = []
    acked = [0]

    def delivered(err, msg):
        if err:
            failed.append(str(err))
        else:
            acked[0] += 1

    p = ck.Producer({**base(o), "compression.codec": o.get("codec", "none"), "linger.ms": 5,
                     "enable.idempotence": o.get("idempotent", False)})
    for i in range(o["count"]):
        more = {"timestamp": o["timestamp_ms"] + i} if "timestamp_ms" in o else {}
        p.produce(o["topic"], f"{o['prefix']}{i}", key=f"k{i % 50}", partition=i % o["partitions"],
                  on_delivery=delivered, **more)
    if p.flush(LIMIT_S) or failed:
        sys.exit(f"not delivered: {failed[:1]}")
    say(acked=acked[0])


def record(m):
    say(record=[m.partition(), m.offset(), (m.key() or b"").decode(), (m.value() or b"").decode()])


def read(o):
    c = ck.Consumer({**base(o), "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})
    left, at = {}, []
    for p in range(o["partitions"]):
        low, high = c.get_watermark_offsets(ck.TopicPartition(o["topic"], p), LIMIT_S)
        if low < high:
            left[p] = high
            at.append(ck.TopicPartition(o["topic"], p, low))
    c.assign(at)
    while left:
        m = c.poll(LIMIT_S)
        if not m or m.error():
            sys.exit(f"{m.error() if m else 'nothing more comes'}; {left} wanted")
        if m.offset() < left.get(m.partition(), 0):
            record(m)
            if m.offset() + 1 == left[m.partition()]:
                del left[m.partition()]
    c.close()


def member(o):
    conf = {**base(o), "group.id": o["group"], "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
    if o.get("protocol", "classic") == "classic":
        conf.update({"session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
                     "partition.assignment.strategy": o["strategy"]})
    else:
        conf["group.protocol"] = o["protocol"]
    if "instance" in o:
        conf["group.instance.id"] = o["instance"]
    owned = set()

    def assigned(c, parts):
        owned.update(p.partition for p in parts)
        say(assigned=sorted(owned))

    def revoked(c, parts):
        owned.difference_update(p.partition for p in parts)
        say(assigned=sorted(owned))

    c = ck.Consumer(conf)
    c.subscribe([o["topic"]], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not select.select([sys.stdin], [], [], 0)[0]:
        m = c.poll(0.1)
        if m and m.error():
            print(m.error(), file=sys.stderr)
        elif m:
            record(m)
    c.close()


def by_time(o):
    c = ck.Consumer({**base(o), "group.id": "unused"})
    found = c.offsets_for_times([ck.TopicPartition(o["topic"], p, o["timestamp_ms"]) for p in range(o["partitions"])],
                                LIMIT_S)
    say(offsets={str(p.partition): p.offset for p in found})
    c.close()


class Steps:
    def __init__(self, o):
        self.a = cka.AdminClient(base(o))
        self.brokers = o

    @staticmethod
    def one(futures):
        return next(iter(futures.values())).result(LIMIT_S)

    def create(self, topic, partitions, config):
        self.one(self.a.create_topics([cka.NewTopic(topic, partitions, 1, config=config)]))

    def list(self):
        return list(self.a.list_topics(timeout=LIMIT_S).topics)

    def describe(self, topic):
        return len(self.a.list_topics(topic, timeout=LIMIT_S).topics[topic].partitions)

    def delete(self, topic):
        self.one(self.a.delete_topics([topic]))

    def grow(self, topic, count):
        self.one(self.a.create_partitions([cka.NewPartitions(topic, count)]))

    def configs(self, topic):
        found = self.one(self.a.describe_configs([cka.ConfigResource(cka.RESOURCE_TOPIC, topic)]))
        return {k: e.value for k, e in found.items()}

    def alter(self, topic, config):
        r = cka.ConfigResource(cka.RESOURCE_TOPIC, topic)
        if not hasattr(self.a, "incremental_alter_configs"):
            for k, v in config.items():
                r.set_config(k, v)
            self.one(self.a.alter_configs([r]))
            return
        for k, v in config.items():
            r.add_incremental_config(cka.ConfigEntry(k, v, incremental_operation=cka.AlterConfigOpType.SET))
        self.one(self.a.incremental_alter_configs([r]))

    def delete_records(self, topic, partition, offset):
        return self.one(self.a.delete_records([ck.TopicPartition(topic, partition, offset)])).low_watermark

    def groups(self):
        return [g.id for g in self.a.list_groups(timeout=LIMIT_S)]

    def describe_group(self, group):
        g = self.a.list_groups(group, timeout=LIMIT_S)[0]
        return {"state": g.state, "members": len(g.members)}

    def offsets(self, group, topic, partitions):
        ask = ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(topic, p) for p in range(partitions)])
        found = self.one(self.a.list_consumer_group_offsets([ask]))
        return {str(p.partition): p.offset for p in found.topic_partitions}


def admin(o):
    steps = Steps(o)
    for name, *args in o["steps"]:
        try:
            say(result=getattr(steps, name)(*args))
        except ck.KafkaException as e:
            say(error=str(e))


if __name__ == "__main__":
    globals()[sys.argv[1]](json.loads(sys.argv[2]))
