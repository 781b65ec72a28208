# SPDX-License-Identifier: Apache-2.0
"""The main job on real text: every line of this machine's package lists through stock clients and back."""
import collections
import itertools

import kcat

PARTITIONS = 6
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def assert_same_multiset(got, want):
    got, want = collections.Counter(got), collections.Counter(want)
    lost, extra = want - got, got - want
    assert not lost and not extra, (
        f"{sum(lost.values())} lines lost (first {next(iter(lost), None)}), "
        f"{sum(extra.values())} too many (first {next(iter(extra), None)})")


def kcat_unkeyed(t, address, lines):
    lines = [line for line in lines if line]  # kcat sends no record for an empty line
    kcat.create_topic(address, "unkeyed", PARTITIONS)
    kcat.produce(address, "unkeyed", b"\n".join(lines) + b"\n", "-X", "sticky.partitioning.linger.ms=2")
    got = kcat.consume(address, "unkeyed")
    assert_same_multiset((r.value for r in got), lines)
    kcat.assert_dense(got)
    parts = kcat.by_partition(got)
    assert len(parts) == PARTITIONS, f"records in {len(parts)} partitions only"
    for p, records in parts.items():  # each partition holds a subsequence of the input
        rest = iter(lines)
        for r in records:
            assert any(line == r.value for line in rest), f"partition {p}, offset {r.offset}: out of order"


def kcat_keyed(t, address, lines):
    """The key is the number of the line, so that order can be told exactly."""
    kcat.create_topic(address, "keyed", PARTITIONS)
    data = b"".join(b"%d:%s\n" % (i, line) for i, line in enumerate(lines))
    kcat.produce(address, "keyed", data, "-K", ":")
    got = kcat.consume(address, "keyed")
    assert len(got) == len(lines), f"{len(got)} records of {len(lines)}"
    assert {int(r.key) for r in got} == set(range(len(lines))), "the keys are not those that were sent"
    for r in got:
        assert r.value == lines[int(r.key)], f"line {int(r.key)} came back as {r.value!r}"
    kcat.assert_dense(got)
    parts = kcat.by_partition(got)
    assert len(parts) == PARTITIONS, f"records in {len(parts)} partitions only"
    for p, records in parts.items():
        for a, b in itertools.pairwise(records):
            assert int(a.key) < int(b.key), f"partition {p}: line {int(b.key)} after {int(a.key)}"


def librdkafka(t, address, lines, name, **config):
    topic = f"lines-{name}"
    kcat.create_topic(address, topic, PARTITIONS)
    d = kcat.Deliveries(address, acks="all", **config)
    for i, line in enumerate(lines):
        d.send(topic, line, key=b"%d" % (i % 1000))
    d.finish()
    got = kcat.read_all(address, topic, PARTITIONS)
    kcat.assert_dense(got)
    assert len(got) == len(lines), f"{len(got)} records of {len(lines)}"
    for r in got:
        want = d.delivered.get((r.partition, r.offset))
        assert r.value == want, f"partition {r.partition}, offset {r.offset}: {r.value!r}, delivered {want!r}"
    assert_same_multiset((r.value for r in got), lines)
    last = {}
    wanted = collections.defaultdict(list)
    for i, line in enumerate(lines):
        wanted[b"%d" % (i % 1000)].append(line)
    for r in got:  # order of each key
        n = last.get(r.key, 0)
        assert r.value == wanted[r.key][n], f"key {r.key!r}: record {n} is {r.value!r}"
        last[r.key] = n + 1


def everything(t, transport):
    lines = kcat.real_lines()
    address = transport.broker.address
    size = sum(map(len, lines))
    print(f"{len(lines)} lines, {size} bytes, over {transport.name}")
    with transport.client_side():
        with t.check("kcat, unkeyed: every line comes back, in order within its partition"):
            kcat_unkeyed(t, address, lines)
        with t.check("kcat, keyed: every line comes back under its key, in order within its partition"):
            kcat_keyed(t, address, lines)
        for codec in CODECS:
            with t.check(f"librdkafka, {codec}: every line is where its delivery report says"):
                librdkafka(t, address, lines, codec, compression_type=codec)
        with t.check("librdkafka, idempotent: every line is where its delivery report says"):
            librdkafka(t, address, lines, "idempotent", enable_idempotence=True)
    with t.check("the broker is well: alive, no input/output error"):
        assert transport.broker.alive()
        assert transport.broker.metric("storage_io_errors_total") == 0
    with t.check("a clean stop"):
        code, _ = transport.broker.stop()
        assert code == 0, f"exit code {code}"
    transport.broker.start()
    if hasattr(transport, "wire_started"):
        transport.wire_started()
    with transport.client_side():
        with t.check("after a restart all of it is read again"):
            for topic, want in (("unkeyed", sum(1 for line in lines if line)), ("keyed", len(lines)),
                                ("lines-zstd", len(lines))):
                got = kcat.consume(address, topic)
                assert len(got) == want, f"{topic}: {len(got)} of {want}"
                kcat.assert_dense(got)
