#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keys of the dpdk transport that go to DPDK or to the stack: what they say is done, or refused."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402


def refused(t, name, sets, *words):
    b = netns.Tap(t, sets=sets, name=name).broker
    b.spawn()
    code = b.wait()
    assert code != 0, "it was accepted"
    for w in words:
        assert w in b.log(), f"says nothing of {w!r}: {b.log()}"


def main(t):
    with t.check("a driver takes the arguments that follow the port's name"):
        tap = netns.Tap(t, sets={"dpdk.port": "tap:mrtap,mac=fixed"}, name="fixed").start()
        assert "64:74:61:70:" in tap.space.ip("link", "show", "mrtap")
        tap.broker.stop()
    with t.check("arguments that the driver refuses are refused with its words"):
        refused(t, "args", {"dpdk.port": "tap:mrtap,mac=nonsense"}, "dpdk.port=tap:mrtap,mac=nonsense", "does not start")
    with t.check("dpdk.eal goes to EAL"):
        refused(t, "eal", {"dpdk.eal": "--no-such-argument"}, "DPDK does not start")
        tap = netns.Tap(t, sets={"dpdk.eal": "--log-level=pmd.*:error  --no-hpet"}, name="eal2").start()
        with tap.client_side(), wire.Connection(tap.broker.address) as c:
            assert c.create_topic("t", 1) == 0
        tap.broker.stop()
    with t.check("tcp.congestion.control and tcp.ecn are the stack's"):
        for cc, ecn in (("cubic", "true"), ("newreno", "false")):
            tap = netns.Tap(t, sets={"tcp.congestion.control": cc, "tcp.ecn": ecn}, name="cc-" + cc).start()
            tap.space.sh("sysctl", "-qw", "net.ipv4.tcp_ecn=1")
            with tap.client_side(), wire.Connection(tap.broker.address) as c:
                c.create_topic("t", 1)
                got = json.loads(tap.broker.http("/connections")[1])["connections"]
            assert [x["cc"] for x in got] == [cc] and ("ecn" in got[0]["options"]) == (ecn == "true"), got
            tap.broker.stop()


if __name__ == "__main__":
    checks.run(main)
