#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The console tools of Apache Kafka do what they say, and print what their users look for."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import matrix  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

VERSION = "4.3.1"
TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "producer-perf": "org.apache.kafka.tools.ProducerPerformance",
    "consumer-perf": "org.apache.kafka.tools.ConsumerPerformance",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
}
LIMIT_S = 90


class Tools:
    def __init__(self, t, command, brokers, where=""):
        self.t = t
        self.server = matrix.Server(t, command)
        self.brokers = brokers
        self.where = where

    def has(self, api_key):
        with wire.Connection(self.brokers) as c:
            return api_key in c.api_versions()

    def check(self, what):
        return self.t.check(self.where + what)

    def path(self, name, text):
        path = os.path.join(self.t.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def run(self, tool, *args, text="", code=0):
        """What it prints on its standard output."""
        said = self.server.ask("run", {"tool": TOOLS[tool], "input": text,
                                       "args": ["--bootstrap-server", self.brokers, *map(str, args)]}, LIMIT_S)[0]
        assert said["code"] == code, f"{tool} {args}: exit {said['code']}: {said['out'][-600:]} {said['err'][:600]}"
        return said["out"] + said["err"]


def expect(pattern, text):
    assert re.search(pattern, text, re.M), f"no {pattern!r} in: {text[-1500:]}"


def topics(s):
    with s.check("kafka-topics: creates, lists, describes, adds partitions, deletes"):
        expect("^Created topic shop", s.run("topics", "--create", "--topic", "shop", "--partitions", 3,
                                             "--replication-factor", 1, "--config", "retention.ms=7200000"))
        s.run("topics", "--create", "--topic", "gone")
        assert {"shop", "gone"} <= set(s.run("topics", "--list").split())
        text = s.run("topics", "--describe", "--topic", "shop")
        expect(r"Topic: shop\s.*PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention\.ms=7200000", text)
        expect(r"Topic: shop\s+Partition: 2\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", text)
        s.run("topics", "--alter", "--topic", "shop", "--partitions", 4)
        expect("PartitionCount: 4", s.run("topics", "--describe", "--topic", "shop"))
        s.run("topics", "--delete", "--topic", "gone")
        assert "gone" not in s.run("topics", "--list").split()
        expect("already exists", s.run("topics", "--create", "--topic", "shop", code=1))
        expect("does not exist", s.run("topics", "--describe", "--topic", "nowhere", code=1))


def configs(s):
    with s.check("kafka-configs: describes, alters, takes back; the broker's too"):
        topic = ("--entity-type", "topics", "--entity-name", "shop")
        expect("retention.ms=7200000", s.run("configs", "--describe", *topic))
        expect("Completed updating config",
               s.run("configs", "--alter", *topic, "--add-config", "max.message.bytes=5000,retention.ms=3600000"))
        text = s.run("configs", "--describe", *topic)
        expect(r"max\.message\.bytes=5000 .*DYNAMIC_TOPIC_CONFIG:max\.message\.bytes=5000", text)
        s.run("configs", "--alter", *topic, "--delete-config", "max.message.bytes")
        text = s.run("configs", "--describe", *topic)
        assert "max.message.bytes" not in text and "retention.ms=3600000" in text, text
        expect(r"cleanup\.policy=delete", s.run("configs", "--describe", "--all", *topic))
        expect("log.retention", s.run("configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", 1))


def producer_and_consumer(s, topic="shop"):
    with s.check("kafka-console-producer, kafka-console-consumer: what goes in comes out"):
        lines = [f"k{i}:value {i}" for i in range(100)]
        s.run("producer", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:",
              text="\n".join(lines) + "\n")
        text = s.run("consumer", "--topic", topic, "--group", "buyers", "--from-beginning", "--max-messages", 100,
                     "--timeout-ms", 20000, "--formatter-property", "print.key=true", "--formatter-property",
                     "key.separator=:")
        assert sorted(l for l in text.splitlines() if l.startswith("k")) == sorted(lines), text
        expect("Processed a total of 100 messages", text)
    with s.check("kafka-get-offsets: sums up to what was produced"):
        found = re.findall(rf"^{topic}:(\d+):(\d+)$", s.run("get-offsets", "--topic", topic), re.M)
        assert [int(p) for p, _ in found] == list(range(4)) and sum(int(n) for _, n in found) == 100, found
        found = re.findall(rf"^{topic}:\d+:(\d+)$", s.run("get-offsets", "--topic", topic, "--time", "earliest"), re.M)
        assert found == ["0"] * 4, found


def groups(s):
    with s.check("kafka-consumer-groups: lists, describes with lag, resets offsets"):
        assert "buyers" in s.run("groups", "--list").split()
        rows = re.findall(r"^buyers\s+shop\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s", s.run(
            "groups", "--describe", "--group", "buyers"), re.M)
        assert len(rows) == 4 and all(at == end and lag == "0" for _, at, end, lag in rows), rows
        expect(r"^buyers\s.*\sEmpty\s+0", s.run("groups", "--describe", "--group", "buyers", "--state"))
        text = s.run("groups", "--reset-offsets", "--to-earliest", "--group", "buyers", "--topic", "shop", "--execute")
        assert len(re.findall(r"^buyers\s+shop\s+\d\s+0\s*", text, re.M)) == 4, text
        rows = re.findall(r"^buyers\s+shop\s+\d+\s+(\d+)\s+\d+\s+(\d+)\s", s.run(
            "groups", "--describe", "--group", "buyers"), re.M)
        assert len(rows) == 4 and sum(int(lag) for _, lag in rows) == 100, rows
    if s.has(matrix.OFFSET_DELETE):
        with s.check("kafka-consumer-groups: deletes offsets"):
            expect(r"^shop\s+3\s+Successful", s.run("groups", "--delete-offsets", "--group", "buyers", "--topic", "shop:3"))
    if s.has(matrix.DELETE_GROUPS):
        with s.check("kafka-consumer-groups: deletes a group"):
            expect("successful", s.run("groups", "--delete", "--group", "buyers"))
            assert "buyers" not in s.run("groups", "--list").split()


def perf(s):
    with s.check("kafka-producer-perf-test, kafka-consumer-perf-test: all records, with acks=all and lz4"):
        s.run("topics", "--create", "--topic", "perf", "--partitions", 4)
        expect(r"^20000 records sent, .* 99th", s.run(
            "producer-perf", "--topic", "perf", "--num-records", 20000, "--record-size", 512, "--throughput", -1,
            "--command-property", "acks=all", "compression.type=lz4"))
        expect(r"^20\d\d-.*, 20\d\d-.*, 9\.7656, .*, 20000, ", s.run(
            "consumer-perf", "--topic", "perf", "--num-records", 20000, "--timeout", 30000))


def delete_records(s):
    with s.check("kafka-delete-records: the low watermark moves"):
        path = s.path("delete.json", '{"partitions": [{"topic": "perf", "partition": 0, "offset": 10}], "version": 1}')
        expect(r"partition: perf-0\s+low_watermark: 10", s.run("delete-records", "--offset-json-file", path))
        expect(r"^perf:0:10$", s.run("get-offsets", "--topic", "perf", "--time", "earliest"))


def api_versions(s):
    with s.check("kafka-broker-api-versions: what the broker advertises is usable"):
        text = s.run("api-versions")
        expect(r"\(id: \d+ rack: \S+ isFenced: \w+\) -> \(", text)
        for api in ("Produce", "Fetch", "JoinGroup", "CreateTopics", "DescribeConfigs"):
            expect(rf"{api}\(\d+\): .*\[usable: \d+\]", text)


def main(t):
    command = matrix.java_program("java-tools", os.path.join(matrix.ADAPTERS, "java_tools"), VERSION)
    s = Tools(t, command, broker.Broker(t).start().address)
    for what in (api_versions, topics, configs, producer_and_consumer, groups, perf, delete_records):
        what(s)
    tap = netns.Tap(t, name="tap").start()
    s = Tools(t, tap.space.prefix() + command, tap.broker.address, "dpdk over tap: ")
    with s.check("kafka-topics: creates"):
        s.run("topics", "--create", "--topic", "shop", "--partitions", 4)
    producer_and_consumer(s)
    perf(s)


if __name__ == "__main__":
    checks.run(main)
