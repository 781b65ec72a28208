#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two shards: a connection on any shard reaches the partitions of every shard."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

PARTITIONS = 12
CONNECTIONS = 16


def reach_all(t, transport):
    address = transport.broker.address
    with wire.Connection(address) as c:
        assert c.create_topic("wide", PARTITIONS) == 0
    conns = [wire.Connection(address) for _ in range(CONNECTIONS)]
    sent = {p: [] for p in range(PARTITIONS)}
    try:
        for i, c in enumerate(conns):
            batches = {p: wire.batch([b"%d.%d.%d" % (i, p, k) for k in range(5)]) for p in range(PARTITIONS)}
            for p, (error, base) in c.produce_many("wide", batches).items():
                assert error == 0, f"connection {i}, partition {p}: error {error}"
                sent[p] += [(base + k, b"%d.%d.%d" % (i, p, k)) for k in range(5)]
        for i, c in enumerate(conns):
            for p, (error, high, data) in c.fetch("wide", {p: 0 for p in range(PARTITIONS)}).items():
                assert error == 0, f"connection {i}, partition {p}: error {error}"
                assert high == 5 * CONNECTIONS
                got = wire.values_of(data)
                assert got == sent[p], f"connection {i}, partition {p}: {got[:3]} ... for {sent[p][:3]} ..."
    finally:
        for c in conns:
            c.s.close()


def long_poll(t, transport):
    """A fetch that waits on one connection is ended by a produce on another, for every partition."""
    with wire.Connection(transport.broker.address) as waiting, wire.Connection(transport.broker.address) as other:
        for p in range(PARTITIONS):
            end = 5 * CONNECTIONS
            offsets = {q: end + (q < p) for q in range(PARTITIONS)}
            waiting.correlation += 1
            body = struct.pack(">iiiibi", -1, 30000, 1, 1 << 20, 0, 1) + wire.string("wide") + \
                struct.pack(">i", len(offsets)) + b"".join(struct.pack(">iqi", q, o, 1 << 20)
                                                           for q, o in offsets.items())
            waiting.send(wire.request(wire.FETCH, 4, body, waiting.correlation))
            error, base = other.produce("wide", p, wire.batch([b"wake up"]))
            assert (error, base) == (0, end)
            _, correlation = waiting.answer()
            assert correlation == waiting.correlation


def main(t):
    for kind in (netns.Kernel, netns.Tap):  # a veth has one AF_XDP queue
        transport = kind(t, sets={"shards": "2", "storage.workers": "2"}, name="broker-" + kind.name)
        with t.check(f"{kind.name}: a broker with two shards starts"):
            transport.start()
        if not transport.broker.alive():
            continue
        with transport.client_side():
            with t.check(f"{kind.name}: {CONNECTIONS} connections write and read all {PARTITIONS} partitions"):
                reach_all(t, transport)
            with t.check(f"{kind.name}: a waiting fetch is woken by a produce that came to another shard"):
                long_poll(t, transport)
        with t.check(f"{kind.name}: both shards have had connections"):
            accepted = {labels: v for (n, labels), v in transport.broker.metrics().items() if n == "net_accepted_total"}
            assert len(accepted) == 2, f"net_accepted_total: {accepted}"
            assert all(v > 0 for v in accepted.values()), f"net_accepted_total: {accepted}"
        with t.check(f"{kind.name}: a clean stop"):
            code, _ = transport.broker.stop()
            assert code == 0, f"exit code {code}"


if __name__ == "__main__":
    checks.run(main)
