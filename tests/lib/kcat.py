# SPDX-License-Identifier: Apache-2.0
"""Stock clients: kcat as processes, librdkafka through confluent_kafka, and the machine's own text as input."""
import collections
import glob
import os
import re
import signal
import subprocess
import threading

import checks
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

Record = collections.namedtuple("Record", "partition offset key value")
FORMAT = "%p\\t%o\\t%k\\t%s\\n"


def real_lines():
    """Every line of the package lists and of the package status of this machine, as bytes."""
    lines = []
    for path in sorted(glob.glob("/var/lib/dpkg/info/*.list")) + ["/var/lib/dpkg/status"]:
        with open(path, "rb") as f:
            lines += f.read().split(b"\n")
    assert len(lines) > 1000, "this machine has no package lists"
    return lines


def run(args, data=None, limit_s=240):
    r = subprocess.run(["kcat"] + args, input=data, stdin=None if data is not None else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit_s)
    assert r.returncode == 0, f"kcat {' '.join(args)}: exit {r.returncode}: {r.stderr.decode(errors='replace')[-500:]}"
    return r.stdout


def produce(address, topic, data, *more):
    run(["-P", "-b", address, "-t", topic, *more], data)


def parse(out):
    records = []
    for line in out.split(b"\n")[:-1]:
        p, o, k, v = line.split(b"\t", 3)
        records.append(Record(int(p), int(o), k, v))
    return records


def consume(address, topic, *more):
    """Everything that the topic holds."""
    return parse(run(["-C", "-q", "-b", address, "-t", topic, "-o", "beginning", "-e", "-f", FORMAT, *more]))


def by_partition(records):
    parts = collections.defaultdict(list)
    for r in records:
        parts[r.partition].append(r)
    return parts


def assert_dense(records):
    """Within each partition the offsets count up from the first without a hole, in the order received."""
    for p, rs in by_partition(records).items():
        first = rs[0].offset
        for i, r in enumerate(rs):
            assert r.offset == first + i, f"partition {p}: offset {r.offset} where {first + i} belongs"


def create_topic(address, topic, partitions, config=None):
    admin = AdminClient({"bootstrap.servers": address})  # its requests end when it goes out of scope
    futures = admin.create_topics(
        [NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})], request_timeout=30)
    futures[topic].result(60)


class Member:
    """A `kcat -G` process: what it was assigned and what it read."""

    def __init__(self, t, name, address, group, topic, *more):
        self.out = os.path.join(t.dir, f"{name}.out")
        self.err = os.path.join(t.dir, f"{name}.err")
        t.logs.append(self.err)
        cmd = ["kcat", "-b", address, "-G", group, topic, "-E", "-u", "-f", FORMAT,
               "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000",
               "-X", "heartbeat.interval.ms=500", "-X", "auto.commit.interval.ms=200",
               "-X", "reconnect.backoff.max.ms=500", *more]
        self.process = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=open(self.out, "wb"),
                                        stderr=open(self.err, "wb"))
        t.undo.callback(self.kill)

    def assigned(self):
        """Partitions of the last rebalance that this member reported."""
        mine = set()
        with open(self.err, encoding="utf-8", errors="replace") as f:
            for line in f:
                m = re.search(r"rebalanced.*?(assigned|revoked):(.*)", line)
                if m:
                    mine = {int(p) for p in re.findall(r"\[(\d+)\]", m.group(2))} if m.group(1) == "assigned" else set()
        return mine

    def records(self):
        with open(self.out, "rb") as f:
            data = f.read()
        return parse(data[:data.rfind(b"\n") + 1])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """Commits and leaves the group."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError("kcat does not stop") from None


class Deliveries:
    """A producer with a record of what it was told: delivered[(partition, offset)] = value."""

    def __init__(self, address, **config):
        self.delivered = {}
        self.twice = []
        self.errors = []
        self.count = 0
        self.changed = threading.Condition()
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 5, "message.timeout.ms": 180000,
                                  "queue.buffering.max.messages": 200000,
                                  **{k.replace("_", "."): v for k, v in config.items()}})

    def on_delivery(self, err, msg):
        with self.changed:
            if err:
                self.errors.append(str(err))
            else:
                at = (msg.partition(), msg.offset())
                if at in self.delivered:
                    self.twice.append(at)
                self.delivered[at] = msg.value() or b""
                self.count += 1
            self.changed.notify_all()

    def send(self, topic, value, **kw):
        while True:
            try:
                self.producer.produce(topic, value, on_delivery=self.on_delivery, **kw)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def finish(self, limit_s=180):
        left = self.producer.flush(limit_s)
        assert left == 0, f"{left} records not delivered within {limit_s} s"
        assert not self.errors, f"{len(self.errors)} deliveries failed, first: {self.errors[0]}"
        assert not self.twice, f"one offset was given twice: {self.twice[:3]}"


def read_all(address, topic, partitions, limit_s=300, **config):
    """Every record of the topic up to its end, by assignment, through librdkafka. partitions: how many, or which."""
    which = range(partitions) if isinstance(partitions, int) else partitions
    c = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False,
                  "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100,
                  **{k if k == "log_level" else k.replace("_", "."): v for k, v in config.items()}})
    records, ended = [], set()
    try:
        c.assign([TopicPartition(topic, p, 0) for p in which])

        def step():
            for m in c.consume(10000, 0.2):
                if m.error():
                    assert m.error().code() == KafkaError._PARTITION_EOF, m.error().str()
                    ended.add(m.partition())
                else:
                    records.append(Record(m.partition(), m.offset(), m.key() or b"", m.value() or b""))
            return len(ended) == len(which)
        checks.wait_until(f"the end of all {len(which)} partitions", step, limit_s, 0)
    finally:
        c.close()
    return records


def log_starts(address, topic, partitions, **config):
    """Where the logs begin now, by partition."""
    c = Consumer({"bootstrap.servers": address, "group.id": "unused",
                  **{k if k == "log_level" else k.replace("_", "."): v for k, v in config.items()}})
    try:
        return {p: c.get_watermark_offsets(TopicPartition(topic, p), 30)[0] for p in partitions}
    finally:
        c.close()
