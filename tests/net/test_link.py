#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The link of the dpdk port goes down and comes back: it is seen, and connections go on."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402


def main(t):
    tap = netns.Tap(t, sets={"shards": "2"}).start()
    b = tap.broker
    with tap.client_side():
        conns = [wire.Connection(b.address, timeout=60) for _ in range(8)]
        conns[0].create_topic("t", 1)
        for c in conns:
            assert c.produce("t", 0, wire.batch([b"before"]))[0] == 0
    checks.wait_until("the link is seen", lambda: b.metric("port_link_up") == 1)
    changes = b.metric("port_link_changes_total")
    answers = []

    def produce(c):
        answers.append(c.produce("t", 0, wire.batch([b"while it is down"] * 1000))[0])

    threads = [threading.Thread(target=produce, args=(c,)) for c in conns]
    with t.check("a link that is down is seen"):
        tap.space.ip("link", "set", "mrtap", "down")
        checks.wait_until("port_link_up is 0", lambda: b.metric("port_link_up") == 0)
        for x in threads:
            x.start()
    with t.check("what was sent meanwhile arrives on the same connections when it is back"):
        tap.space.ip("link", "set", "mrtap", "up")
        for x in threads:
            x.join(60)
        assert answers == [0] * len(conns), answers
        checks.wait_until("port_link_up is 1", lambda: b.metric("port_link_up") == 1)
        assert b.metric("port_link_changes_total") == changes + 2
        assert b.metric("net_closed_total") == 0
    with t.check("ten flaps in a row, and a new connection works"):
        for _ in range(10):
            tap.space.ip("link", "set", "mrtap", "down")
            tap.space.ip("link", "set", "mrtap", "up")
        with tap.client_side(), wire.Connection(b.address, timeout=60) as c:
            error, base = c.produce("t", 0, wire.batch([b"after"]))
            assert (error, base) == (0, len(conns) * 1001)
    with t.check("a clean stop"):
        for c in conns:
            c.s.close()
        assert b.stop()[0] == 0


if __name__ == "__main__":
    checks.run(main)
