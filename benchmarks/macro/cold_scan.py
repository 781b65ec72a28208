#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does a reader of old data slow producers down? Produce latency with and without a scan of a log ten times the
broker's memory for logs, in turns.

    cold_scan.py [--memory-mib N] [--seconds S] [--rounds N] [--pause-ms MS] [--json FILE]

One producer sends 1 KiB and waits for its acknowledgement, then pauses (default 2 ms), to one partition; the scan
fetches another partition from its beginning to its end, again and again, 1 MiB at a time. Both speak the protocol by
hand, so that little but the broker is measured. Target: p99 at most 1.2 times of without.
"""
import argparse
import json
import multiprocessing
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402

SCANNED = 10  # times the memory for logs


def fill(address, size):
    """Puts `size` bytes into the partition that is scanned."""
    batch = wire.batch([os.urandom(60000)] * 8)
    with wire.Connection(address) as c:
        for _ in range(size // len(batch) + 1):
            error, _ = c.produce("cold", 0, batch)
            assert error == 0, f"produce: error {error}"


def end_of(data):
    """Offset after the last whole batch."""
    at, end = 0, None
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            break
        end = base + struct.unpack_from(">i", data, at + 23)[0] + 1
        at += 12 + length
    return end


def scan(address, stop, scanned):
    with wire.Connection(address) as c:
        offset = 0
        while not stop.is_set():
            error, high, data = c.fetch("cold", {0: offset}, max_wait_ms=0)[0]
            assert error == 0, f"fetch: error {error}"
            scanned.value += len(data)
            end = end_of(data)
            offset = 0 if end is None or end >= high else end


def produce(address, seconds, pause_s):
    """Latencies in seconds."""
    body = struct.pack(">hhii", -1, -1, 30000, 1) + wire.string("hot") + struct.pack(">i", 1)
    records = wire.batch([b"x" * 950])
    request = wire.request(wire.PRODUCE, 3, body + struct.pack(">ii", 0, len(records)) + records)
    took = []
    with wire.Connection(address) as c:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            c.send(request)
            c.answer()
            took.append(time.perf_counter() - start)
            time.sleep(pause_s)
    return took


def quantile(values, q):
    return sorted(values)[int(len(values) * q)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--memory-mib", type=int, default=64)
    ap.add_argument("--seconds", type=float, default=4)
    ap.add_argument("--pause-ms", type=float, default=2)
    ap.add_argument("--rounds", type=int, default=4)
    ap.add_argument("--json", default=os.devnull)
    args = ap.parse_args()
    t = checks.Test("cold_scan", False, 0)
    with t.undo:
        b = broker.Broker(t, sets={"memory.log.bytes": str(args.memory_mib << 20)}).start()
        for topic in ("cold", "hot"):
            kcat.create_topic(b.address, topic, 1)
        fill(b.address, SCANNED * args.memory_mib << 20)
        produce(b.address, 1, args.pause_ms / 1000)
        took = {False: [], True: []}
        scanned = multiprocessing.Value("Q", 0)
        for n in range(2 * args.rounds):
            with_scan = n % 4 in (1, 2)  # A B B A
            stop = multiprocessing.Event()
            p = multiprocessing.Process(target=scan, args=(b.address, stop, scanned))
            if with_scan:
                p.start()
            took[with_scan] += produce(b.address, args.seconds, args.pause_ms / 1000)
            stop.set()
            if with_scan:
                p.join()
                assert p.exitcode == 0, "the scan failed"
        cold = b.metric("storage_read_bytes_total")
    result = {"bench": "cold_scan", "scan_bytes_per_s": scanned.value / (args.rounds * args.seconds),
              "device_read_bytes": cold}
    for q, name in ((0.5, "p50"), (0.99, "p99")):
        without, beside = quantile(took[False], q), quantile(took[True], q)
        result.update({f"{name}_us": 1e6 * without, f"{name}_scan_us": 1e6 * beside, f"{name}_ratio": beside / without})
        print(f"produce {name}: {1e6 * without:.0f} us, beside a cold scan {1e6 * beside:.0f} us: {beside / without:.2f}x")
    print(f"scanned at {result['scan_bytes_per_s'] / 1e6:.0f} MB/s, {cold / 1e6:.0f} MB read from the device")
    with open(args.json, "w", encoding="ascii") as f:
        print(json.dumps(result), file=f)


if __name__ == "__main__":
    main()
