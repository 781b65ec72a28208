#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""DeleteRecords by a stock client: what is below the offset is gone, and stays gone after a crash."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import subprocess  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402

HELPER = os.path.join(os.path.dirname(broker.BINARY), "helpers", "delete_records")
OFFSET_OUT_OF_RANGE = 1


def delete(b, topic, partition, offset):
    """(error's name, where the log begins)"""
    out = subprocess.run([HELPER, b.address, topic, str(partition), str(offset)], stdin=subprocess.DEVNULL, text=True,
                         capture_output=True, check=True, timeout=60).stdout
    error, low = out.split()
    return error, int(low)


def offsets(b, topic):
    return [r.offset for r in kcat.consume(b.address, topic)]


def main(t):
    b = broker.Broker(t, sets={"log.segment.bytes": str(2 << 20)}).start()
    kcat.create_topic(b.address, "t", 2)
    kcat.create_topic(b.address, "compacted", 1, {"cleanup.policy": "compact"})
    kcat.produce(b.address, "t", b"".join(b"%d\n" % i for i in range(100)), "-p", "0")
    with t.check("records below the offset are gone for a consumer that starts at the beginning"):
        assert delete(b, "t", 0, 40) == ("NO_ERROR", 40)
        assert offsets(b, "t") == list(range(40, 100))
    with t.check("a fetch below it is OFFSET_OUT_OF_RANGE"):
        with wire.Connection(b.address) as c:
            assert c.fetch("t", {0: 39}, 0, 0)[0][0] == OFFSET_OUT_OF_RANGE
            assert c.fetch("t", {0: 40}, 0, 0)[0][0] == 0
    with t.check("an offset that is gone already changes nothing"):
        assert delete(b, "t", 0, 10) == ("NO_ERROR", 40)
    with t.check("above the high watermark: OFFSET_OUT_OF_RANGE"):
        assert delete(b, "t", 0, 101)[0] == "OFFSET_OUT_OF_RANGE"
    with t.check("a topic that is only compacted: POLICY_VIOLATION"):
        assert delete(b, "compacted", 0, 0)[0] == "POLICY_VIOLATION"
    with t.check("kill -9 brings nothing back"):
        b.kill()
        b.start()
        assert offsets(b, "t") == list(range(40, 100))
    with t.check("-1 deletes all; the next record goes on where they ended"):
        assert delete(b, "t", 0, -1) == ("NO_ERROR", 100)
        assert offsets(b, "t") == []
        kcat.produce(b.address, "t", b"next\n", "-p", "0")
        assert offsets(b, "t") == [100]
    with t.check("and that too is there after a crash"):
        b.kill()
        b.start()
        assert offsets(b, "t") == [100]


if __name__ == "__main__":
    checks.run(main)
