#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a start takes, and what it reads: after kill -9 under load, and cold with many partitions.

    restart.py [--gib N] [--partitions N] [--rounds N] [--json FILE]     (as root, to drop the kernel's caches)

  kill   a log of N GiB (default 2) in 20 partitions; kill -9 while it is written to; time from exec to ready, and
         bytes read until then as a share of the log. Target: 1 s and 2 % with 10 GB.
  idle   N partitions (default 10,000), clean stop, caches dropped: time to ready; and resident memory per idle
         partition, as the difference to a broker with 10.
"""
import argparse
import json
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

PARTITIONS = 20
VALUE = os.urandom(60000)


def disk_bytes(path):
    return sum(os.stat(os.path.join(d, f)).st_blocks * 512 for d, _, fs in os.walk(path) for f in fs)


def drop_caches():
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("3")
        return True
    except OSError:
        return False


def timed_start(b):
    """Seconds from exec to ready, and bytes read from the device until then."""
    start = time.monotonic()
    b.spawn()
    while not b.is_ready():
        time.sleep(0.0005)
        assert time.monotonic() - start < 600, "not ready within 600 s"
    took = time.monotonic() - start
    with open(f"/proc/{b.pid}/io", encoding="ascii") as f:
        io = dict(line.split(": ") for line in f)
    return took, int(io["read_bytes"])


class Load:
    """Writes to all partitions until told to end."""

    def __init__(self, address):
        self.producer = kcat.Producer({
            "bootstrap.servers": address, "acks": "all", "retries": 0, "linger.ms": 2, "log_level": 2,
            "message.timeout.ms": 10000, "queue.buffering.max.kbytes": 65536, "batch.size": 900000,
            "reconnect.backoff.max.ms": 100})
        self.bytes = 0

    def on_delivery(self, err, msg):
        self.bytes += 0 if err else len(VALUE)

    def write(self, more):
        """Writes while more() says so."""
        i = 0
        while more():
            i += 1
            try:
                self.producer.produce("log", VALUE, partition=i // 16 % PARTITIONS, on_delivery=self.on_delivery)
            except BufferError:
                self.producer.poll(0.01)
            self.producer.poll(0)


def kill(t, gib, rounds):
    b = broker.Broker(t, name="kill").start()
    kcat.create_topic(b.address, "log", PARTITIONS)
    load = Load(b.address)
    end = time.monotonic() + 1200
    load.write(lambda: load.bytes < gib << 30 and time.monotonic() < end)
    results = []
    for _ in range(rounds):
        ending = threading.Event()
        thread = threading.Thread(target=load.write, args=(lambda: not ending.is_set(),))
        thread.start()
        before = load.bytes
        checks.wait_until("load", lambda: load.bytes > before + (64 << 20), 120, 0.005)
        b.kill()
        ending.set()
        thread.join()
        size = disk_bytes(b.data)
        cold = drop_caches()
        took, read = timed_start(b)
        print(f"kill -9 under load, {size / 1e9:.2f} GB of log{', caches dropped' if cold else ''}: ready in"
              f" {took * 1000:.0f} ms, read {read / 1e6:.1f} MB = {100 * read / size:.3f} % of it", flush=True)
        results.append((took, read / size, size))
    b.kill()
    load.producer.purge()
    return {"bench": "restart", "log_bytes": results[-1][2], "ready_s": statistics.median(r[0] for r in results),
            "read_share": statistics.median(r[1] for r in results)}


def settled_rss(b):
    """Resident memory once it has stopped moving."""
    last = 0
    for _ in range(50):
        now = b.rss_bytes()
        if now == last:
            break
        last = now
        time.sleep(0.2)
    return last


def idle(t, partitions, rounds):
    rss = {}
    times = []
    for n in (10, partitions):
        b = broker.Broker(t, name=f"idle-{n}").start()
        start = time.monotonic()
        kcat.create_topic(b.address, "idle", n)
        print(f"{n} partitions made in {time.monotonic() - start:.1f} s", flush=True)
        for _ in range(rounds):
            code, _ = b.stop()
            assert code == 0, f"exit code {code}"
            drop_caches()
            took, read = timed_start(b)
            if n == partitions:
                times.append(took)
                print(f"{n} partitions, cold: ready in {took * 1000:.0f} ms, read {read / 1e6:.1f} MB", flush=True)
        rss[n] = settled_rss(b)
        b.stop()
    each = (rss[partitions] - rss[10]) / (partitions - 10)
    print(f"memory: {each:.0f} bytes per idle partition ({rss[10] >> 20} MiB with 10, {rss[partitions] >> 20} MiB)")
    return {"bench": "idle", "partitions": partitions, "ready_s": statistics.median(times), "bytes_per_partition": each}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gib", type=int, default=2)
    ap.add_argument("--partitions", type=int, default=10000)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--only", choices=("kill", "idle"))
    ap.add_argument("--json", default=os.devnull)
    args = ap.parse_args()
    t = checks.Test("restart", False, 0)
    with t.undo, open(args.json, "w", encoding="ascii") as out:
        if args.only != "idle":
            print(json.dumps(kill(t, args.gib, args.rounds)), file=out, flush=True)
        if args.only != "kill":
            print(json.dumps(idle(t, args.partitions, args.rounds)), file=out, flush=True)


if __name__ == "__main__":
    main()
