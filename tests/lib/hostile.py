# SPDX-License-Identifier: Apache-2.0
"""What a broken or malicious peer may send: the right error or a closed connection, memory bounded, and
other clients do not notice."""
import contextlib
import random
import resource
import struct
import threading

import checks
import wire
from confluent_kafka import Consumer, Producer

MIB = 1 << 20
CONNECTIONS = 1000
GROWTH_LIMIT = 128 * MIB  # of resident memory, over all of it


class Bystander:
    """A well-behaved producer and consumer that work all the while."""

    def __init__(self, address, topic):
        self.errors = []
        self.sent = self.received = self.delivered = 0
        self.stop = threading.Event()
        conf = {"bootstrap.servers": address, "error_cb": lambda e: self.errors.append(str(e))}
        self.producer = Producer({**conf, "linger.ms": 1})
        self.consumer = Consumer({**conf, "group.id": "bystander", "auto.offset.reset": "earliest",
                                  "fetch.wait.max.ms": 50})
        self.consumer.subscribe([topic])
        self.topic = topic
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def on_delivery(self, err, msg):
        if err:
            self.errors.append(str(err))
        else:
            self.delivered += 1

    def work(self):
        while not self.stop.is_set() or self.received < self.sent:
            if not self.stop.is_set() and self.sent < self.received + 1000:
                self.producer.produce(self.topic, b"%d" % self.sent, on_delivery=self.on_delivery)
                self.sent += 1
            self.producer.poll(0)
            for m in self.consumer.consume(100, 0.005):
                if m.error():
                    self.errors.append(m.error().str())
                else:
                    self.received += 1

    def finish(self):
        self.stop.set()
        self.thread.join(60)
        hung = self.thread.is_alive()
        self.producer.flush(30)
        if not hung:
            self.consumer.close()
        assert not hung, f"{self.received} of {self.sent} records came back"
        assert not self.errors, f"{len(self.errors)} errors, first: {self.errors[0]}"
        assert self.delivered == self.sent == self.received, (self.sent, self.delivered, self.received)
        assert self.sent > 100, f"only {self.sent} records"


def raise_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def many_connections(t, address):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(wire.Connection(address)) for _ in range(CONNECTIONS)]
        for c in conns:
            c.send(wire.request(wire.API_VERSIONS, 0, b"", 7))
        for c in conns:
            _, correlation = c.answer()
            assert correlation == 7
        for c in conns:  # and once more, now that all are known to be open
            c.api_versions()


def closed_by(address, data, what):
    with wire.Connection(address) as c:
        try:
            c.send(data)
        except wire.Closed:
            return
        c.assert_closed(what)


def garbage(t, address):
    rng = random.Random(t.seed)
    for i in range(200):
        with wire.Connection(address) as c:
            body = rng.randbytes(rng.randrange(1, 4000))
            # half of it in a well-formed frame, so that it reaches the decoders
            data = body if i % 2 else struct.pack(">i", len(body)) + body
            with contextlib.suppress(wire.Closed):
                c.send(data)
            if i % 4 == 1:
                c.s.shutdown(1)
                c.assert_closed("garbage and end of stream")
    with wire.Connection(address) as c:
        c.api_versions()


def mutated_requests(t, address):
    """Valid requests with a byte changed or the end missing: an answer or a close, never a hang of others."""
    rng = random.Random(t.seed + 1)
    versions = None
    with wire.Connection(address) as c:
        versions = c.api_versions()
        whole = [wire.request(wire.METADATA, 4, struct.pack(">i", 1) + wire.string("attacked") + b"\0"),
                 wire.request(wire.PRODUCE, 3, struct.pack(">hhii", -1, 1, 1000, 1) + wire.string("attacked") +
                              struct.pack(">iii", 1, 0, len(b := wire.batch([b"x" * 50] * 5))) + b),
                 wire.request(wire.FETCH, 4, struct.pack(">iiiibi", -1, 1, 1, 1 << 20, 0, 1) +
                              wire.string("attacked") + struct.pack(">iiqi", 1, 0, 0, 1 << 20)),
                 wire.request(wire.LIST_OFFSETS, 1, struct.pack(">ii", -1, 1) + wire.string("attacked") +
                              struct.pack(">iiq", 1, 0, -1))]
    for _ in range(600):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            data[6:8] = struct.pack(">h", rng.randrange(0, max(versions[struct.unpack_from(">h", data, 4)[0]][1], 0) + 1)
                                    if struct.unpack_from(">h", data, 4)[0] in versions else 0)
        with wire.Connection(address) as c, contextlib.suppress(wire.Closed):
            c.send(bytes(data))
    with wire.Connection(address) as c:
        c.api_versions()


def bad_batches(t, address):
    good = [b"value %d" % i for i in range(10)]
    cases = {
        "wrong CRC": (wire.batch(good, crc=0x12345678), {wire.CORRUPT_MESSAGE}),
        "magic 1": (wire.batch(good, magic=1), {wire.INVALID_RECORD, wire.UNSUPPORTED_FOR_MESSAGE_FORMAT,
                                                wire.CORRUPT_MESSAGE}),
        "magic 7": (wire.batch(good, magic=7), {wire.INVALID_RECORD, wire.UNSUPPORTED_FOR_MESSAGE_FORMAT,
                                                wire.CORRUPT_MESSAGE}),
        "more records claimed than there are": (wire.batch(good, count=1000, last_offset_delta=999),
                                                {wire.INVALID_RECORD, wire.CORRUPT_MESSAGE}),
        "fewer records claimed than there are": (wire.batch(good, count=3, last_offset_delta=2),
                                                 {wire.INVALID_RECORD, wire.CORRUPT_MESSAGE}),
        "two thousand million records": (wire.batch(good, count=0x7FFFFFFF, last_offset_delta=0x7FFFFFFE),
                                         {wire.INVALID_RECORD, wire.CORRUPT_MESSAGE}),
        "a negative count": (wire.batch(good, count=-1), {wire.INVALID_RECORD, wire.CORRUPT_MESSAGE}),
        "a last offset that does not fit the count": (wire.batch(good, last_offset_delta=500),
                                                      {wire.INVALID_RECORD, wire.CORRUPT_MESSAGE}),
        "a length beyond its bytes": (wire.batch(good, length=1 << 30), {wire.CORRUPT_MESSAGE,
                                                                        wire.INVALID_RECORD}),
        "a length of nothing": (wire.batch(good, length=3), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
        "records compressed by gzip that are not": (wire.batch(good, attributes=1),
                                                    {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
        "zstd in a version before zstd": (wire.batch(good, attributes=4), {76}),
        "codec 7": (wire.batch(good, attributes=7), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD, 76}),
    }
    for what, (data, errors) in cases.items():
        with t.check(f"a batch with {what} is refused, and nothing of it is stored"):
            with wire.Connection(address) as c:
                _, before, _ = c.fetch("attacked", {0: 0}, 0, 0)[0]
                error, _ = c.produce("attacked", 0, data)
                assert error in errors, f"error {error}, expected one of {sorted(errors)}"
                _, after, _ = c.fetch("attacked", {0: 0}, 0, 0)[0]
                assert before == after, f"high watermark {before} became {after}"
                assert c.produce("attacked", 0, wire.batch(good))[0] == 0, "a good batch after it is refused"


def bad_names(t, address):
    for name in ("a/b", "..", ".", "../../etc/passwd", "", "x" * 250, "nul\0byte", "späte"):
        with wire.Connection(address) as c:
            error = c.create_topic(name, 1)
            assert error == wire.INVALID_TOPIC, f"CreateTopics {name!r}: error {error}"
            if name:
                found = c.metadata([name], auto_create=True)
                assert [e for e, _ in found.values()] == [wire.INVALID_TOPIC], f"Metadata {name!r}: {found}"
            error, _ = c.produce(name, 0, wire.batch([b"x"]))
            assert error in (wire.INVALID_TOPIC, wire.UNKNOWN_TOPIC_OR_PARTITION), f"Produce {name!r}: error {error}"


def everything(t, transport):
    raise_open_files()
    address = transport.broker.address
    broker = transport.broker
    with transport.client_side():
        with wire.Connection(address) as c:
            assert c.create_topic("attacked", 1) == 0
            assert c.create_topic("quiet", 3) == 0
        bystander = Bystander(address, "quiet")
        try:
            checks.wait_until("the bystander works", lambda: bystander.received > 100, 60)
        except AssertionError:
            bystander.stop.set()
            raise
    base = broker.rss_bytes()
    try:
        with transport.client_side():
            attack(t, address, broker, base)
    finally:
        with t.check("a client that produces and consumes meanwhile has not noticed"):
            bystander.finish()
    with t.check("resident memory grew by a bounded amount"):
        grown = broker.rss_bytes() - base
        assert grown < GROWTH_LIMIT, f"{grown // MIB} MiB"
        print(f"      resident memory: {base // MIB} MiB before, {(base + grown) // MIB} MiB after")
    with t.check("the broker is alive and stops cleanly"):
        assert broker.alive()
        code, _ = broker.stop()
        assert code == 0, f"exit code {code}"


def attack(t, address, broker, base):
    with t.check(f"{CONNECTIONS} connections at once are all served"):
        many_connections(t, address)
    with t.check("thirty frames of a claimed 100 MB take no memory before they come"):
        before = broker.rss_bytes()
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                c = stack.enter_context(wire.Connection(address))
                c.send(struct.pack(">i", 100_000_000) + b"\0" * 100)
            with wire.Connection(address) as c:
                c.api_versions()
            grown = broker.rss_bytes() - before
        assert grown < 64 * MIB, f"{grown // MIB} MiB more"
    with t.check("a frame above socket.request.max.bytes, or of negative size, closes the connection"):
        closed_by(address, struct.pack(">i", 200_000_000) + b"\0" * 100, "a frame of 200 MB")
        closed_by(address, struct.pack(">i", 0x7FFFFFFF), "a frame of 2 GiB")
        closed_by(address, struct.pack(">i", -5), "a frame of -5 bytes")
        closed_by(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request")
    with t.check("garbage is answered or ends the connection"):
        garbage(t, address)
    with t.check("requests with changed bytes harm nobody"):
        mutated_requests(t, address)
    with t.check("half a frame and then silence holds up nobody else"):
        whole = wire.request(wire.METADATA, 4, struct.pack(">i", 0) + b"\0")
        with contextlib.ExitStack() as stack:
            halves = [stack.enter_context(wire.Connection(address)) for _ in range(50)]
            for i, c in enumerate(halves):
                c.send(whole[:1 + i % (len(whole) - 1)])
            with wire.Connection(address) as c:
                c.api_versions()
            for i, c in enumerate(halves):  # and they may still go on
                c.send(whole[1 + i % (len(whole) - 1):])
                _, correlation = c.answer()
                assert correlation == 1
    with t.check("an unknown API key closes the connection"):
        closed_by(address, wire.request(9999, 0, b"\0" * 20), "API key 9999")
        closed_by(address, wire.request(-1, 0, b""), "API key -1")
    with t.check("ApiVersions of an unknown version is answered with UNSUPPORTED_VERSION in version 0"):
        with wire.Connection(address) as c:
            r = c.ask(wire.API_VERSIONS, 99, b"")
            assert r.i16() == wire.UNSUPPORTED_VERSION
            assert r.i32() > 0, "without the versions that would work"
    bad_batches(t, address)
    with t.check("topic names that are paths, empty, too long or not ASCII are INVALID_TOPIC_EXCEPTION"):
        bad_names(t, address)
    with t.check("70,000 partitions, none or fewer than none are refused"):
        with wire.Connection(address) as c:
            error = c.create_topic("wide", 70000)
            assert error in (wire.INVALID_PARTITIONS, wire.POLICY_VIOLATION), f"error {error}"
            for n in (0, -2, 0x7FFFFFFF):
                error = c.create_topic("wide", n)
                assert error in (wire.INVALID_PARTITIONS, wire.POLICY_VIOLATION), f"{n} partitions: error {error}"
            assert c.metadata(["wide"])["wide"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
    with t.check("pipelined requests are answered in their order"):
        with wire.Connection(address) as c:
            for i in range(300):
                if i % 3 == 0:
                    b = wire.batch([b"p%d" % i])
                    c.send(wire.request(wire.PRODUCE, 3, struct.pack(">hhii", -1, -1, 1000, 1) +
                                        wire.string("attacked") + struct.pack(">iii", 1, 0, len(b)) + b, i))
                else:
                    c.send(wire.request(wire.API_VERSIONS, 0, b"", i))
            for i in range(300):
                _, correlation = c.answer()
                assert correlation == i, f"answer {correlation} where {i} belongs"
