#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPU time of an idle broker over ten seconds, on each transport; percent of one core.

    benchmarks/macro/idle_cpu.py        (as root: the dpdk transports need network namespaces)
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import checks  # noqa: E402
import kcat  # noqa: E402
import netns  # noqa: E402

SECONDS = 10


def main(t):
    for kind in (netns.Kernel, netns.Tap, netns.AfXdp):
        with t.check(f"measured: {kind.name}"):
            transport = kind(t, name="broker-" + kind.name).start()
            with transport.client_side():
                kcat.produce(transport.broker.address, "idle", b"one\n")
            time.sleep(2)  # let the adaptive poll settle
            before, start = transport.broker.cpu_s(), time.monotonic()
            time.sleep(SECONDS)
            used, took = transport.broker.cpu_s() - before, time.monotonic() - start
            print(f"{kind.name}: {100 * used / took:.2f} % of a core, {transport.broker.rss_bytes() >> 20} MiB resident")
            transport.broker.stop()


if __name__ == "__main__":
    checks.run(main)
