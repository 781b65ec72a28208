#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Settings of topics and of the broker through the admin client, and that they take effect at run time."""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource  # noqa: E402

MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, INVALID_TIMESTAMP, INVALID_CONFIG = 10, 19, 32, 40
INCREMENTAL = 44
TOPIC, BROKER = 2, 4
CODECS = {"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def describe(admin, kind, name):
    r = ConfigResource(kind, name)
    return admin.describe_configs([r], request_timeout=30)[r].result(60)


def alter(admin, name, settings, **how):
    r = ConfigResource("topic", name, set_config=settings)
    return admin.alter_configs([r], request_timeout=30, **how)[r].result(60)


def set_one(c, kind, name, key, value):
    """Error code of IncrementalAlterConfigs; value None: deleted."""
    text = b"\xff\xff" if value is None else wire.string(value)
    config = wire.string(key) + struct.pack(">b", 0 if value is not None else 1) + text
    r = c.ask(INCREMENTAL, 0, wire.array([struct.pack(">b", kind) + wire.string(name) + wire.array([config])]) + b"\0")
    r.i32()
    assert r.i32() == 1
    return r.i16()


def batch_at(ms, value=b"x"):
    """A batch whose record has this timestamp."""
    b = bytearray(wire.batch([value]))
    struct.pack_into(">qq", b, 27, ms, ms)
    struct.pack_into(">I", b, 17, wire.crc32c(bytes(b[21:])))
    return bytes(b)


def codecs_of(data):
    found, at = set(), 0
    while at + 61 <= len(data):
        size, = struct.unpack_from(">i", data, at + 8)
        found.add(struct.unpack_from(">h", data, at + 21)[0] & 7)
        at += 12 + size
    return found


def topic_settings(t, b, admin):
    with t.check("a topic's settings are described, with their sources"):
        got = describe(admin, "topic", "t")
        assert len(got) > 30, sorted(got)
        assert got["retention.ms"].value == "604800000" and got["retention.ms"].is_default
        assert got["retention.ms"].synonyms["log.retention.hours"].value == "168"
    with t.check("a change only validated changes nothing"):
        alter(admin, "t", {"max.message.bytes": "200"}, validate_only=True)
        assert describe(admin, "topic", "t")["max.message.bytes"].is_default
    with t.check("a bad value is INVALID_CONFIG"):
        try:
            alter(admin, "t", {"retention.ms": "soon"})
            raise AssertionError("accepted")
        except KafkaException as e:
            assert e.args[0].code() == INVALID_CONFIG, e


def at_run_time(t, b):
    now = int(time.time() * 1000)
    with wire.Connection(b.address) as c:
        def turned(key, value, batch, error):
            assert set_one(c, TOPIC, "t", key, value) == 0
            got = c.produce("t", 0, batch)[0]
            assert got == error, f"{key}={value}: error {got}"
            assert set_one(c, TOPIC, "t", key, None) == 0
            assert c.produce("t", 0, batch)[0] == 0, f"without {key}"

        with t.check("max.message.bytes holds for the next batch"):
            turned("max.message.bytes", "200", wire.batch([b"x" * 500]), MESSAGE_TOO_LARGE)
        with t.check("min.insync.replicas holds for the next acks=all, and for no other"):
            assert set_one(c, TOPIC, "t", "min.insync.replicas", "2") == 0
            assert c.produce("t", 0, wire.batch([b"x"]), acks=1)[0] == 0
            turned("min.insync.replicas", "2", wire.batch([b"x"]), NOT_ENOUGH_REPLICAS)
        with t.check("message.timestamp.before.max.ms and after.max.ms hold for the next batch"):
            turned("message.timestamp.before.max.ms", "1000", batch_at(now - 60000), INVALID_TIMESTAMP)
            turned("message.timestamp.after.max.ms", "0", batch_at(now + 600000), INVALID_TIMESTAMP)
        with t.check("cleanup.policy=compact wants keys"):
            turned("cleanup.policy", "compact", wire.batch([b"x"]), wire.INVALID_RECORD)
        with t.check("message.timestamp.type=LogAppendTime holds for the next batch"):
            assert set_one(c, TOPIC, "t", "message.timestamp.type", "LogAppendTime") == 0
            error, offset = c.produce("t", 0, batch_at(1000))
            assert error == 0
            data = c.fetch("t", {0: offset})[0][2]
            assert data[22] & 8 and struct.unpack_from(">q", data, 35)[0] >= now
            assert set_one(c, TOPIC, "t", "message.timestamp.type", None) == 0
        with t.check("flush.messages, flush.ms and durability are taken, and what is acknowledged is there"):
            for key, value in (("flush.messages", "1"), ("flush.ms", "0"), ("durability", "written")):
                assert set_one(c, TOPIC, "t", key, value) == 0, key
            error, offset = c.produce("t", 1, wire.batch([b"flushed"]))
            assert error == 0 and wire.values_of(c.fetch("t", {1: offset})[1][2]) == [(offset, b"flushed")]
        with t.check("segment.bytes and retention.bytes hold at run time"):
            assert set_one(c, TOPIC, "t", "segment.bytes", str(1 << 20)) == 0
            assert set_one(c, TOPIC, "t", "retention.bytes", "0") == 0
            for _ in range(60):
                assert c.produce("t", 1, wire.batch([os.urandom(100_000)]))[0] == 0

            def trimmed():
                return c.fetch("t", {1: 0})[1][0] == 1  # OFFSET_OUT_OF_RANGE
            checks.wait_until("the oldest records are gone", trimmed)


def compression(t, b):
    values = [b"value %d " % i + b"abcdefgh" * 200 for i in range(300)]
    sizes = {}
    for name, codec in CODECS.items():
        topic = "c-" + name
        kcat.create_topic(b.address, topic, 1)
        with t.check(f"compression.type={name}: whatever comes is stored so, and read back"):
            with wire.Connection(b.address) as c:
                assert set_one(c, TOPIC, topic, "compression.type", name) == 0
                for theirs in ("none", "gzip", "snappy", "lz4", "zstd"):
                    p = Producer({"bootstrap.servers": b.address, "compression.codec": theirs, "linger.ms": 20})
                    for v in values:
                        p.produce(topic, v)
                    assert p.flush(30) == 0
                data, offset = b"", 0
                while offset < 5 * len(values):
                    part = c.fetch(topic, {0: offset}, max_bytes=8 << 20)[0][2]
                    assert part
                    data += part
                    at = 0
                    while at + 61 <= len(part):
                        base, size, = struct.unpack_from(">qi", part, at)
                        offset = base + struct.unpack_from(">i", part, at + 23)[0] + 1
                        at += 12 + size
                assert codecs_of(data) == {codec}, codecs_of(data)
                sizes[name] = len(data)
            consumer = Consumer({"bootstrap.servers": b.address, "group.id": "none", "enable.auto.commit": False})
            consumer.assign([TopicPartition(topic, 0, 0)])
            got = []
            while len(got) < 5 * len(values):
                m = consumer.poll(30)
                assert m is not None and not m.error(), m and m.error()
                got.append(m.value())
            consumer.close()
            assert got == values * 5
    print("bytes stored: " + ", ".join(f"{k} {v} ({sizes['uncompressed'] / v:.1f} to 1)" for k, v in sizes.items()))


def broker_settings(t, b, admin):
    node = str(min(admin.list_topics(timeout=30).brokers))
    with t.check("the broker's settings are described; those that can change say so"):
        got = describe(admin, "broker", node)
        assert got["log.dirs"].is_read_only and not got["log.retention.ms"].is_read_only
    with wire.Connection(b.address) as c:
        with t.check("a key of the broker that is set at run time holds for topics without their own"):
            assert set_one(c, BROKER, node, "log.dirs", "/x") == 42
            assert set_one(c, BROKER, node, "message.max.bytes", "300") == 0
            assert c.produce("plain", 0, wire.batch([b"x" * 500]))[0] == MESSAGE_TOO_LARGE
            assert c.produce("c-gzip", 0, wire.batch([b"x" * 500]))[0] == MESSAGE_TOO_LARGE
            got = describe(admin, "broker", node)["message.max.bytes"]
            assert got.value == "300" and got.source == 2, got


def main(t):
    b = broker.Broker(t, "b", sets={"log.retention.check.interval.ms": "200", "log.initial.task.delay.ms": "0"}).start()
    admin = AdminClient({"bootstrap.servers": b.address})
    kcat.create_topic(b.address, "t", 2)
    kcat.create_topic(b.address, "plain", 1)
    topic_settings(t, b, admin)
    at_run_time(t, b)
    compression(t, b)
    broker_settings(t, b, admin)
    with t.check("changes are there after kill -9"):
        b.kill()
        b.start()
        admin = AdminClient({"bootstrap.servers": b.address})
        assert describe(admin, "topic", "t")["segment.bytes"].value == str(1 << 20)
        assert describe(admin, "topic", "plain")["max.message.bytes"].value == "300"
        with wire.Connection(b.address) as c:
            assert c.produce("plain", 0, wire.batch([b"x" * 500]))[0] == MESSAGE_TOO_LARGE
            assert set_one(c, BROKER, "1", "message.max.bytes", None) == 0
            assert c.produce("plain", 0, wire.batch([b"x" * 500]))[0] == 0


if __name__ == "__main__":
    checks.run(main)
