#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""poll.mode: busy never sleeps, adaptive does when there is nothing to do; both serve and stop."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402


def serve(b):
    kcat.produce(b.address, "polled", b"one\ntwo\nthree\n")
    assert sorted(r.value for r in kcat.consume(b.address, "polled")) == [b"one", b"three", b"two"]


def waits(b):
    return b.metric("net_waits_total")


def main(t):
    with t.check("busy: records go in and come out, and the shard has never slept"):
        b = broker.Broker(t, "busy", sets={"poll.mode": "busy"}).start()
        serve(b)
        assert waits(b) == 0, f"slept {waits(b)} times"
    with t.check("busy: a clean stop"):
        code, _ = b.stop()
        assert code == 0, f"exit code {code}"
    with t.check("adaptive: records go in and come out, and the shard sleeps when idle"):
        b = broker.Broker(t, "adaptive", sets={"poll.mode": "adaptive"}).start()
        serve(b)
        before = waits(b)
        checks.wait_until("the shard slept again", lambda: waits(b) > before, 30)
        b.stop()


if __name__ == "__main__":
    checks.run(main)
