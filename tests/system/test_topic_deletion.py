#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A deletion that kill -9 cuts off anywhere is finished or never began; logs that no topic explains are not hidden."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import json  # noqa: E402
import re  # noqa: E402
import struct  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402

META = "millrace.meta.json"
LOG_NAME = re.compile(r"^([0-9a-f]{32})-\d+(\.deleted)?$")
PARTITIONS = 40


def topic_ids(b):
    with open(os.path.join(b.data, META), encoding="utf-8") as f:
        return {t["id"] for t in json.load(f)["state"]["topics"]}


def strays(b):
    """Log directories of no topic."""
    known = topic_ids(b)
    found = (LOG_NAME.match(n) for n in os.listdir(b.data))
    return [m.group(0) for m in found if m and m.group(1) not in known]


def delete_topic(connection, name):
    """Error code."""
    body = struct.pack(">i", 1) + wire.string(name) + struct.pack(">i", 30000)
    answer = connection.ask(wire.DELETE_TOPICS, 1, body)
    answer.i32()  # throttle time
    assert answer.i32() == 1
    answer.string()
    return answer.i16()


def delete_and_kill(b, name, delay_s):
    """Asks for the deletion and kills the broker a moment later. True: it was answered before."""
    answered = []

    def ask():
        try:
            with wire.Connection(b.address) as c:
                answered.append(delete_topic(c, name))
        except (OSError, wire.Closed):
            pass

    asker = threading.Thread(target=ask)
    asker.start()
    time.sleep(delay_s)
    b.kill()
    asker.join()
    assert answered in ([], [0]), f"answered {answered}"
    return bool(answered)


def fill(b, name):
    kcat.create_topic(b.address, name, PARTITIONS)
    with wire.Connection(b.address) as c:
        for p in range(PARTITIONS):
            error, _ = c.produce(name, p, wire.batch([b"x" * 9000]))
            assert error == 0, f"error {error}"


def intact(b, name):
    with wire.Connection(b.address) as c:
        for p, (error, high, _) in c.fetch(name, {p: 0 for p in range(PARTITIONS)}, 0, 0).items():
            assert (error, high) == (0, 1), f"partition {p}: error {error}, high watermark {high}"


def crashes(t, b, rounds):
    outcomes = {"answered": 0, "gone": 0, "kept": 0}
    for i in range(rounds):
        name = f"t{i}"
        fill(b, name)
        answered = delete_and_kill(b, name, t.random.uniform(0, 0.02))
        b.start()
        with wire.Connection(b.address) as c:
            error = c.metadata([name], auto_create=False)[name][0]
        if error == 0:
            assert not answered, "the deletion was answered, and the topic is back"
            intact(b, name)
            outcomes["kept"] += 1
            with wire.Connection(b.address) as c:
                assert delete_topic(c, name) == 0
        else:
            assert error == wire.UNKNOWN_TOPIC_OR_PARTITION
            outcomes["answered" if answered else "gone"] += 1
        checks.wait_until("no log of a deleted topic is left", lambda: not strays(b))
        intact(b, "stays")
    print(f"      {outcomes}")


def main(t):
    b = broker.Broker(t, sets={"auto.create.topics.enable": "false"}).start()
    fill(b, "stays")
    with t.check("a deletion cut off by kill -9 leaves the whole topic, or nothing of it"):
        crashes(t, b, 60 if t.full else 12)
    with t.check("without its metadata file the broker does not start over"):
        b.stop()
        meta = os.path.join(b.data, META)
        logs = sorted(n for n in os.listdir(b.data) if LOG_NAME.match(n))
        os.rename(meta, meta + ".away")
        b.spawn()
        assert b.wait() == 1
        assert "restore that file" in b.log() and META in b.log(), b.log()[-400:]
        assert not os.path.exists(meta)
        with open(meta, "wb"):
            pass  # empty, as after a full disk
        b.spawn()
        assert b.wait() == 1
        assert sorted(n for n in os.listdir(b.data) if LOG_NAME.match(n)) == logs
    with t.check("with it everything is there"):
        os.rename(meta + ".away", meta)
        b.start()
        intact(b, "stays")


if __name__ == "__main__":
    checks.run(main)
