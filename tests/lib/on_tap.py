# SPDX-License-Identifier: Apache-2.0
"""Runs a script of tests/clients with its brokers on dpdk, over tap ports with two shards and two queues each.

The script and its clients are in one network namespace, with a tap for each broker. Needs root.
"""
import itertools

import broker
import checks
import netns

PORT = 9092
SHARDS = 2


class TapBroker(broker.Broker):
    numbers = itertools.count(1)

    def __init__(self, t, name="broker", sets=None, **kw):
        n = next(self.numbers)
        self.tap, self.kernel_ip = f"mrtap{n}", f"10.77.{n}.1"
        address = f"10.77.{n}.2"
        own = {
            "network.transport": "dpdk",
            "dpdk.port": "tap:" + self.tap,
            "dpdk.address": address + "/24",
            "shards": str(SHARDS),
        }
        own.update(sets or {})
        super().__init__(t, name, sets=own, address=f"{address}:{PORT}", **kw)

    def start(self):
        super().start()
        netns.sh("ip", "addr", "replace", self.kernel_ip + "/24", "dev", self.tap)
        netns.sh("ip", "link", "set", self.tap, "up")
        queues = netns.sh("ip", "-d", "link", "show", self.tap)
        assert f"numtxqueues {SHARDS}" in queues or "multi_queue" in queues, queues
        return self


def run(main):
    def inside(t):
        with netns.Namespace(t, "tap").entered():
            broker.Broker = TapBroker
            main(t)
    checks.run(inside)
