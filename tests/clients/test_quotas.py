#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client quotas: set, described, kept over a restart, and enforced on both transports (KIP-219)."""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402
from confluent_kafka import Producer  # noqa: E402

DESCRIBE, ALTER = 48, 49
INVALID_REQUEST = 42
RATE = 200_000


def entity(parts):
    """parts: {type: name, None: the default}"""
    return wire.array([wire.string(k) + (wire.string(v) if v is not None else b"\xff\xff") for k, v in parts.items()])


def alter(c, parts, key, value):
    """Error code; value None: removed."""
    op = wire.string(key) + struct.pack(">d?", value or 0, value is None)
    r = c.ask(ALTER, 0, wire.array([entity(parts) + wire.array([op])]) + b"\0")
    r.i32()
    assert r.i32() == 1
    return r.i16()


def describe(c):
    """{((type, name), ...): {key: value}}"""
    r = c.ask(DESCRIBE, 0, wire.array([]) + b"\0")
    r.i32()
    error = r.i16()
    assert error == 0, f"error {error}"
    r.string()
    found = {}
    for _ in range(r.i32()):
        parts = tuple((r.string(), r.string()) for _ in range(r.i32()))
        found[parts] = {r.string(): struct.unpack(">d", r.take(8))[0] for _ in range(r.i32())}
    return found


def produce_throttled(c, batch):
    """(error, throttle_time_ms) by version 3."""
    body = struct.pack(">hhii", -1, -1, 30000, 1) + wire.string("t") + struct.pack(">iii", 1, 0, len(batch)) + batch
    r = c.ask(wire.PRODUCE, 3, body)
    assert r.i32() == 1
    r.string()
    assert r.i32() == 1
    r.i32()
    error = r.i16()
    r.i64(), r.i64()
    return error, r.i32()


def settings(t, b, name):
    with wire.Connection(b.address) as c:
        assert c.create_topic("t", 1) == 0
        with t.check(f"{name}: quotas are described as they were given"):
            assert alter(c, {"client-id": "slow"}, "producer_byte_rate", RATE) == 0
            assert alter(c, {"user": None, "client-id": None}, "consumer_byte_rate", 5e6) == 0
            assert alter(c, {"user": "u"}, "request_percentage", 12.5) == 0
            assert alter(c, {"user": "u"}, "request_percentage", None) == 0
            assert alter(c, {"client-id": "slow"}, "no_such_key", 1) == INVALID_REQUEST
            assert describe(c) == {(("client-id", "slow"),): {"producer_byte_rate": RATE},
                                   (("user", None), ("client-id", None)): {"consumer_byte_rate": 5e6}}, describe(c)


def enforced(t, transport, name):
    b = transport.broker
    batch = wire.batch([b"x" * 100_000] * 5)
    with t.check(f"{name}: who is over the quota is told for how long, and is not answered until then"):
        with wire.Connection(b.address) as c:
            c.client = "slow"
            error, ms = produce_throttled(c, batch)
            assert error == 0 and 1000 <= ms <= 1600, (error, ms)
            begin = time.monotonic()
            c.api_versions()
            assert time.monotonic() - begin >= ms / 1000 - 0.1, "it was heard too early"
    with t.check(f"{name}: others are not throttled"):
        with wire.Connection(b.address) as c:
            assert produce_throttled(c, batch) == (0, 0)
    with t.check(f"{name}: librdkafka is slowed down to its quota and loses nothing"):
        p = Producer({"bootstrap.servers": b.address, "client.id": "slow", "linger.ms": 5,
                      "batch.size": 50000, "message.timeout.ms": 60000})
        begin = time.monotonic()
        lost = []
        for _ in range(10 * RATE // 10_000):
            p.produce("t", os.urandom(10_000), on_delivery=lambda e, m: lost.append(e) if e else None)
            p.poll(0)
        assert p.flush(60) == 0 and not lost, lost[:1]
        took = time.monotonic() - begin
        assert took >= 8, f"10 seconds' worth went through in {took:.1f} s"
    with t.check(f"{name}: hundreds of connections are throttled"):
        conns = [wire.Connection(b.address) for _ in range(300)]
        try:
            for c in conns:
                c.client = "slow"
                c.send(wire.request(18, 0, b"", client="slow"))
                c.send(wire.request(wire.PRODUCE, 3, struct.pack(">hhii", -1, -1, 30000, 1) + wire.string("t") +
                                    struct.pack(">iii", 1, 0, len(batch)) + batch, client="slow"))
            checks.wait_until("300 are throttled", lambda: b.metric("throttled_total") > 300)
        finally:
            for c in conns:
                c.s.close()


def main(t):
    for name in ("kernel", "tap"):
        transport = netns.TRANSPORTS[name](t, {"log.dirs": os.path.join(t.dir, name), "shards": "1"}).start()
        with transport.client_side():
            settings(t, transport.broker, name)
            transport.broker.kill()
            transport.start()
            with t.check(f"{name}: quotas are there after kill -9"):
                with wire.Connection(transport.broker.address) as c:
                    assert len(describe(c)) == 2
            enforced(t, transport, name)
        transport.broker.stop()


if __name__ == "__main__":
    checks.run(main)
