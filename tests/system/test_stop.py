#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM are clean stops: all in flight is finished, the next start scans nothing."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import signal  # noqa: E402
import threading  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402

STOP_LIMIT_S = 10  # a broker that hangs; a stop takes well under a second


def under_load(t, b, sig):
    """Stops while a producer sends; everything that was delivered is there afterwards."""
    d = kcat.Deliveries(b.address, linger_ms=1, message_timeout_ms=60000)
    going = threading.Event()

    def send():
        i = 0
        while not going.is_set():
            if i - d.count < 2000:
                d.send("load", b"%d" % i, partition=0)
                i += 1
            else:
                d.producer.poll(0.01)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        checks.wait_until("deliveries", lambda: d.count > 500)
        idle = [wire.Connection(b.address) for _ in range(5)]
        code, seconds = b.stop(sig)
        for c in idle:
            c.assert_closed("a stopped broker")
            c.s.close()
    finally:
        going.set()
        sender.join()
    delivered = dict(d.delivered)
    assert code == 0, f"exit code {code}: {b.log()[-300:]}"
    assert seconds < STOP_LIMIT_S, f"{seconds:.1f} s"
    print(f"      stopped within {seconds:.3f} s")
    b.start()
    d.finish()
    at = {(r.partition, r.offset): r.value for r in kcat.read_all(b.address, "load", 1)}
    for where, value in delivered.items():
        assert at.get(where) == value, f"delivered {value!r} at {where}, found {at.get(where)!r}"


def main(t):
    b = broker.Broker(t, sets={"num.partitions": "1"}).start()
    kcat.produce(b.address, "load", b"first\n")
    for sig in (signal.SIGINT, signal.SIGTERM):
        with t.check(f"{sig.name} stops an idle broker; the next start needs no recovery and says so"):
            code, seconds = b.stop(sig)
            assert code == 0, f"exit code {code}"
            assert seconds < STOP_LIMIT_S, f"{seconds:.1f} s"
            print(f"      stopped within {seconds:.3f} s")
            b.start()
            assert b.metric("storage_played_bytes_total") == 0
            assert "there was nothing to recover" in b.log(), b.log()[-400:]
        with t.check(f"{sig.name} under load loses nothing"):
            under_load(t, b, sig)
            assert b.metric("storage_played_bytes_total") == 0
    with t.check("after kill -9 the journal is played, and the metric says so"):
        kcat.produce(b.address, "load", b"more\n")
        b.kill()
        b.start()
        assert b.metric("storage_played_bytes_total") > 0
        assert "there was nothing to recover" not in b.log()
    with t.check("the admin port answers"):
        assert b.http("/healthz")[0] == 200
        assert b.http("/readyz")[0] == 200
        status, body = b.http("/config")
        assert status == 200 and "num.partitions" in body
        assert b.http("/nothing")[0] == 404
    with t.check("a second signal while it stops does no harm"):
        b.process.send_signal(signal.SIGINT)
        b.process.send_signal(signal.SIGINT)
        code = b.wait(STOP_LIMIT_S)
        assert code in (0, -signal.SIGINT, 130), f"exit code {code}"


if __name__ == "__main__":
    checks.run(main)
