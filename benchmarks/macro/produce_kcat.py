#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Durable produce with kcat (librdkafka) over each transport: one million records of 100 bytes, one partition.

The client shares the machine, so the figures say what this client gets, not what the broker can do;
the broker's CPU time a record is beside them. usage: produce_kcat.py
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import checks  # noqa: E402
import kcat  # noqa: E402
import netns  # noqa: E402

RECORDS = 1_000_000
ROUNDS = 3


def main(t):
    lines = os.path.join(t.dir, "lines")
    with open(lines, "w", encoding="ascii") as f:
        for i in range(RECORDS):
            f.write(f"{i:0100d}\n")
    for kind in (netns.Kernel, netns.Tap, netns.AfXdp):
        wire = kind(t).start()
        with t.check(f"measured: {wire.name}"), wire.client_side():
            topic = f"bench-{wire.name}"
            kcat.create_topic(wire.broker.address, topic, 1)
            runs = []
            for _ in range(ROUNDS):
                cpu, start = wire.broker.cpu_s(), time.monotonic()
                subprocess.run(["kcat", "-P", "-b", wire.broker.address, "-t", topic, "-l", lines,
                                "-X", "linger.ms=5", "-X", "queue.buffering.max.messages=2000000"],
                               check=True, stderr=subprocess.DEVNULL)
                runs.append((time.monotonic() - start, wire.broker.cpu_s() - cpu))
            wall, cpu = sorted(runs)[ROUNDS // 2]
            print(f"      {wire.name}: {RECORDS / wall:,.0f} records/s,"
                  f" {cpu / RECORDS * 1e9:.0f} ns of the broker's CPU a record (median of {ROUNDS})")
        wire.broker.stop()


if __name__ == "__main__":
    checks.run(main)
