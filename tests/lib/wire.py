# SPDX-License-Identifier: Apache-2.0
"""The Kafka protocol by hand, small and on purpose able to lie. Versions are the last ones before the
flexible encoding, so that a request is a few structs."""
import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS = \
    0, 1, 2, 3, 18, 19, 20, 21
DESCRIBE_LOG_DIRS = 35

CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC = 2, 3, 17
UNSUPPORTED_VERSION, INVALID_PARTITIONS, INVALID_REQUEST = 35, 37, 42
UNSUPPORTED_FOR_MESSAGE_FORMAT, POLICY_VIOLATION, INVALID_RECORD = 43, 44, 87


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = TABLE[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack(">h", len(b)) + b


def int32(n):
    return struct.pack(">i", n)


def array(items):
    return int32(len(items)) + b"".join(items)


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n >= 0x80:
        out += bytes((n & 0x7F | 0x80,))
        n >>= 7
    return out + bytes((n,))


def record(i, value, key=None):
    body = b"\0" + varint(0) + varint(i) + (varint(-1) if key is None else varint(len(key)) + key) \
        + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(values, magic=2, crc=None, count=None, last_offset_delta=None, attributes=0, base_offset=0, length=None):
    """A record batch; each keyword makes one field lie."""
    now = int(time.time() * 1000)
    n = len(values) if count is None else count
    body = struct.pack(">hiqqqhii", attributes,
                       len(values) - 1 if last_offset_delta is None else last_offset_delta,
                       now, now, -1, -1, -1, n)
    body += b"".join(record(i, v) for i, v in enumerate(values))
    head = struct.pack(">iBI", -1, magic, crc32c(body) if crc is None else crc)
    size = len(head) + len(body) if length is None else length
    return struct.pack(">qi", base_offset, size) + head + body


def request(key, version, body, correlation=1, client="wire"):
    r = struct.pack(">hhi", key, version, correlation) + string(client) + body
    return struct.pack(">i", len(r)) + r


class Closed(Exception):
    """The broker closed or reset the connection."""


class Connection:
    def __init__(self, address, timeout=30):
        host, port = address.rsplit(":", 1)
        self.s = socket.create_connection((host, int(port)), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0
        self.client = "wire"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        try:
            self.s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def receive(self, n):
        data = bytearray()
        while len(data) < n:
            try:
                part = self.s.recv(n - len(data))
            except ConnectionResetError:
                raise Closed from None
            if not part:
                raise Closed
            data += part
        return bytes(data)

    def answer(self):
        """Body of the next response, after its correlation id; and that id."""
        size, = struct.unpack(">i", self.receive(4))
        data = self.receive(size)
        return Reader(data[4:]), struct.unpack(">i", data[:4])[0]

    def ask(self, key, version, body):
        self.correlation += 1
        self.send(request(key, version, body, self.correlation, self.client))
        r, correlation = self.answer()
        assert correlation == self.correlation, f"answer {correlation} to request {self.correlation}"
        return r

    def assert_closed(self, what, limit_s=30):
        self.s.settimeout(limit_s)
        try:
            while self.s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"{what}: the connection is still open after {limit_s} s") from None

    # --- requests ---

    def api_versions(self):
        """{key: (min, max)} by version 0."""
        r = self.ask(API_VERSIONS, 0, b"")
        error = r.i16()
        assert error == 0, f"ApiVersions: error {error}"
        return {k: (lo, hi) for k, lo, hi in ((r.i16(), r.i16(), r.i16()) for _ in range(r.i32()))}

    def metadata(self, topics, auto_create=False):
        """{topic: (error, partitions)} by version 4."""
        r = self.ask(METADATA, 4, struct.pack(">i", len(topics)) + b"".join(map(string, topics)) +
                     struct.pack(">?", auto_create))
        r.i32()  # throttle
        for _ in range(r.i32()):
            r.i32(), r.string(), r.i32(), r.string()
        r.string(), r.i32()
        found = {}
        for _ in range(r.i32()):
            error, name = r.i16(), r.string()
            r.take(1)
            partitions = r.i32()
            for _ in range(partitions):
                r.take(2 + 4 + 4)
                for _ in range(2):
                    r.take(4 * r.i32())
            found[name] = (error, partitions)
        return found

    def produce(self, topic, partition, records, acks=-1, timeout_ms=30000):
        """(error, base offset) by version 3."""
        return self.produce_many(topic, {partition: records}, acks, timeout_ms)[partition]

    def produce_many(self, topic, batches, acks=-1, timeout_ms=30000):
        """{partition: (error, base offset)}; batches: {partition: bytes}"""
        body = struct.pack(">hhii", -1, acks, timeout_ms, 1) + string(topic) + struct.pack(">i", len(batches))
        for p, records in batches.items():
            body += struct.pack(">ii", p, len(records)) + records
        r = self.ask(PRODUCE, 3, body)
        answers = {}
        for _ in range(r.i32()):
            r.string()
            for _ in range(r.i32()):
                p, error, base = r.i32(), r.i16(), r.i64()
                r.i64()
                answers[p] = (error, base)
        return answers

    def fetch(self, topic, offsets, max_wait_ms=500, min_bytes=1, max_bytes=50 << 20):
        """{partition: (error, high watermark, bytes)} by version 4; offsets: {partition: offset}"""
        body = struct.pack(">iiiibi", -1, max_wait_ms, min_bytes, max_bytes, 0, 1) + string(topic)
        body += struct.pack(">i", len(offsets))
        for p, offset in offsets.items():
            body += struct.pack(">iqi", p, offset, 1 << 20)
        r = self.ask(FETCH, 4, body)
        r.i32()
        answers = {}
        for _ in range(r.i32()):
            r.string()
            for _ in range(r.i32()):
                p, error, high = r.i32(), r.i16(), r.i64()
                r.i64()
                aborted = r.i32()
                r.take(16 * max(aborted, 0))
                size = r.i32()
                answers[p] = (error, high, r.take(max(size, 0)))
        return answers

    def create_topic(self, topic, partitions, replication=1, timeout_ms=30000):
        """Error code by version 2."""
        r = self.ask(CREATE_TOPICS, 2, struct.pack(">i", 1) + string(topic) +
                     struct.pack(">ihii", partitions, replication, 0, 0) + struct.pack(">i?", timeout_ms, False))
        r.i32()  # throttle
        assert r.i32() == 1
        assert r.string() == (topic if isinstance(topic, str) else topic.decode())
        return r.i16()

    def delete_records(self, topic, offsets, timeout_ms=30000):
        """{partition: (error, low watermark)} by version 1; offsets: {partition: offset}"""
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">i", len(offsets))
        for p, offset in offsets.items():
            body += struct.pack(">iq", p, offset)
        r = self.ask(DELETE_RECORDS, 1, body + struct.pack(">i", timeout_ms))
        r.i32()  # throttle
        answers = {}
        for _ in range(r.i32()):
            r.string()
            for _ in range(r.i32()):
                p, low, error = r.i32(), r.i64(), r.i16()
                answers[p] = (error, low)
        return answers


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, n):
        assert self.at + n <= len(self.data), "the answer ends too early"
        self.at += n
        return self.data[self.at - n:self.at]

    def i16(self):
        return struct.unpack(">h", self.take(2))[0]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def string(self):
        n = self.i16()
        return None if n < 0 else self.take(n).decode()


def values_of(data):
    """[(offset, value)] of uncompressed record batches."""
    found, at = [], 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            break  # a fetch may end with a part of a batch
        magic, = struct.unpack_from(">B", data, at + 16)
        assert magic == 2, f"magic {magic}"
        crc, = struct.unpack_from(">I", data, at + 17)
        assert crc == crc32c(data[at + 21:at + 12 + length]), f"wrong CRC at offset {base}"
        count, = struct.unpack_from(">i", data, at + 57)
        p = at + 61
        for _ in range(count):
            size, p = read_varint(data, p)
            end = p + size
            p += 1
            _, p = read_varint(data, p)
            delta, p = read_varint(data, p)
            klen, p = read_varint(data, p)
            p += max(klen, 0)
            vlen, p = read_varint(data, p)
            found.append((base + delta, data[p:p + max(vlen, 0)]))
            p = end
        at += 12 + length
    return found


def read_varint(data, at):
    v = shift = 0
    while True:
        b = data[at]
        at += 1
        v |= (b & 0x7F) << shift
        shift += 7
        if b < 0x80:
            return v >> 1 ^ -(v & 1), at
