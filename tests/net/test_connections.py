#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/connections: every connection of every shard, as the transport sees it."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

CONNECTIONS = 40
MILLCTL = os.path.join(os.path.dirname(broker.BINARY), "millctl")


def listing(b, query=""):
    status, body = b.http("/connections" + query)
    assert status == 200, f"status {status}: {body[:200]}"
    return json.loads(body)


def all_pages(b, limit):
    """Each answer by itself."""
    pages, query = [], f"?limit={limit}"
    while True:
        page = listing(b, query)
        pages.append(page["connections"])
        if page["next"] is None:
            return pages
        query = f"?limit={limit}&after={page['next']}"


def look(t, transport):
    b = transport.broker
    port = int(b.address.rsplit(":", 1)[1])
    with transport.client_side():
        conns = [wire.Connection(b.address) for _ in range(CONNECTIONS)]
        try:
            conns[0].create_topic("t", 1)
            for c in conns:
                error, _ = c.produce("t", 0, wire.batch([b"x" * 20000]))
                assert error == 0
            mine = {"%s:%d" % c.s.getsockname()[:2] for c in conns}
            with t.check(f"{transport.name}: every connection is listed once, with its shard"):
                got = listing(b)["connections"]
                assert len(got) == len(mine) and {c["peer"] for c in got} == mine, f"{got} for {mine}"
                assert {c["shard"] for c in got} == {0, 1}
            with t.check(f"{transport.name}: what is said of them is true of connections that have sent 20,000 bytes"):
                for c in got:
                    assert c["state"] == "ESTABLISHED" and c["local_port"] == port, c
                    assert c["cc"] in ("cubic", "newreno", "reno", "bbr"), c
                    assert c["bytes_in"] >= 20000 and c["bytes_out"] > 0, c
                    assert 500 < c["mss_bytes"] < c["pmtu_bytes"] <= 65536, c
                    assert c["cwnd_bytes"] >= c["mss_bytes"], c
                    assert 0 < c["srtt_us"] < 10e6 and c["rto_us"] >= c["srtt_us"] and c["min_rtt_us"] > 0, c
                    assert c["send_queue_bytes"] == c["in_flight_bytes"] == 0, c
                    assert c["options"][:2] == ["sack", "ts"], c
            with t.check(f"{transport.name}: millctl prints them, for people and as JSON"):
                run = [MILLCTL, "connections", "--admin", b.admin]
                out = subprocess.run(run, capture_output=True, text=True, timeout=30, check=True).stdout
                assert out.count("ESTABLISHED") == CONNECTIONS and all(f"peer:{p} " in out for p in mine), out
                out = subprocess.run(run + ["--json"], capture_output=True, text=True, timeout=30, check=True).stdout
                assert {c["peer"] for c in json.loads(out)} == mine
                wrong = subprocess.run(run[:-1] + ["127.0.0.1:1"], capture_output=True, text=True, timeout=30, check=False)
                assert wrong.returncode == 1 and "admin.listener" in wrong.stderr, wrong
            with t.check(f"{transport.name}: pages of 7 have all of them"):
                pages = all_pages(b, 7)
                assert max(map(len, pages)) <= 7
                got = [c["peer"] for p in pages for c in p]
                assert len(got) == len(set(got)) and set(got) == mine
            with t.check(f"{transport.name}: the list is text for people, too"):
                status, body = b.http("/connections?format=text")
                assert status == 200 and body.count("\n") == 2 * CONNECTIONS and "ESTABLISHED" in body, body
        finally:
            for c in conns:
                c.s.close()
    with t.check(f"{transport.name}: connections that were closed go away"):
        checks.wait_until("an empty list", lambda: listing(b)["connections"] == [])


def main(t):
    for kind in (netns.Kernel, netns.Tap):
        transport = kind(t, sets={"shards": "2"}, name="broker-" + kind.name).start()
        look(t, transport)
        if kind is netns.Tap:
            with t.check(f"{kind.name}: port and stack are in the metrics, and nothing was dropped for want of room"):
                b = transport.broker
                assert b.metric("port_link_up") == 1 and b.metric("port_buffers_free") > 0
                assert b.metric("stack_tcp_accepted_total") == CONNECTIONS
                dropped = {n: v for (n, _), v in b.metrics().items() if n.startswith("port_drop") and v}
                assert not dropped, dropped
        with t.check(f"{kind.name}: a clean stop"):
            code, _ = transport.broker.stop()
            assert code == 0, f"exit code {code}"


if __name__ == "__main__":
    checks.run(main)
