#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""auto.create.topics.enable, and topics through the admin client."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import wire  # noqa: E402
from confluent_kafka.admin import AdminClient  # noqa: E402


def main(t):
    on = broker.Broker(t, "on", sets={"auto.create.topics.enable": "true", "num.partitions": "3"}).start()
    off = broker.Broker(t, "off", sets={"auto.create.topics.enable": "false"}).start()
    with t.check("enabled: producing makes the topic, with num.partitions partitions"):
        kcat.produce(on.address, "made", b"one\ntwo\n")
        assert sorted(r.value for r in kcat.consume(on.address, "made")) == [b"one", b"two"]
        with wire.Connection(on.address) as c:
            assert c.metadata(["made"])["made"] == (0, 3)
    with t.check("enabled: a client that does not allow it gets UNKNOWN_TOPIC_OR_PARTITION"):
        with wire.Connection(on.address) as c:
            assert c.metadata(["asked"], auto_create=False)["asked"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
            assert c.metadata(["asked"], auto_create=False)["asked"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
    with t.check("disabled: the topic is unknown, and stays so"):
        with wire.Connection(off.address) as c:
            for _ in range(2):
                assert c.metadata(["made"], auto_create=True)["made"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
            error, _ = c.produce("made", 0, wire.batch([b"x"]))
            assert error == wire.UNKNOWN_TOPIC_OR_PARTITION, f"error {error}"
    with t.check("disabled: a created topic works; a second creation is TOPIC_ALREADY_EXISTS"):
        kcat.create_topic(off.address, "created", 2)
        kcat.produce(off.address, "created", b"one\n")
        assert [r.value for r in kcat.consume(off.address, "created")] == [b"one"]
        with wire.Connection(off.address) as c:
            assert c.create_topic("created", 2) == 36
    with t.check("a deleted topic is gone, and its name can be used again, empty"):
        admin = AdminClient({"bootstrap.servers": off.address})
        admin.delete_topics(["created"], request_timeout=30)["created"].result(60)
        with wire.Connection(off.address) as c:
            assert c.metadata(["created"])["created"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        kcat.create_topic(off.address, "created", 2)
        with wire.Connection(off.address) as c:
            for p, (error, high, data) in c.fetch("created", {0: 0, 1: 0}, 0, 0).items():
                assert (error, high, data) == (0, 0, b""), f"partition {p}: {(error, high, data)}"
    with t.check("a topic of 300 partitions is served as soon as it is there"):
        with wire.Connection(off.address, timeout=60) as c:
            assert c.create_topic("wide", 300, timeout_ms=50000) == 0
            assert c.metadata(["wide"])["wide"] == (0, 300)
            error, _ = c.produce("wide", 299, wire.batch([b"x"]))
            assert error == 0, f"error {error}"
    with t.check("topics and records are there after a restart"):
        on.stop()
        on.start()
        assert sorted(r.value for r in kcat.consume(on.address, "made")) == [b"one", b"two"]
        off.stop()
        off.start()
        with wire.Connection(off.address) as c:
            assert c.metadata(["created"])["created"] == (0, 2)


if __name__ == "__main__":
    checks.run(main)
