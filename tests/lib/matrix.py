# SPDX-License-Identifier: Apache-2.0
"""The client matrix: what every stock Kafka client has to be able to do with the broker.

Each client has an adapter in tests/clients/adapters: a program that does one thing with the client, says what
happened as lines of JSON on its standard output, and exits with 0 when it did what it was asked for:

    ADAPTER features                 {"name", "version", "codecs": [...], "strategies": {"eager": S, "cooperative": S},
                                      "new_protocol": bool, "static": bool, "by_time": bool, "admin": [...],
                                      "serves": true when it knows `serve`}
    ADAPTER produce OPTIONS          `count` records "PREFIX0", "PREFIX1", ... with the keys "k0" to "k49", record i to
                                      partition i modulo `partitions`, with time timestamp_ms + i when that is given;
                                      waits for all acknowledgements: {"acked": N}
    ADAPTER read OPTIONS             {"record": [partition, offset, key, value]} of each record that the topic held when
                                      it began, each partition from its beginning
    ADAPTER member OPTIONS           joins a group and reads; {"assigned": [...]}, all that it owns, after each change,
                                      and {"record": ...}; commits every 200 ms; leaves at the end of its input
    ADAPTER by_time OPTIONS          {"offsets": {partition: offset}} of the first records not older than timestamp_ms
    ADAPTER admin OPTIONS            `steps`, each [name, arguments...]: {"result": ...} or {"error": text} of each
    ADAPTER serve {}                 does what each line [VERB, OPTIONS] of its input asks for, and says {"exit": 0 or 1}
                                      after each: for programs that take long to start

OPTIONS is one JSON object: brokers, topic, partitions, codec, group, strategy, protocol, instance, ...
"""
import collections
import concurrent.futures
import itertools
import json
import os
import re
import shutil
import subprocess
import threading

import broker
import checks
import netns
import wire

AT_ONCE = 4  # jobs of one client
PARTITIONS = 12
GROUP_RECORDS = 240
ADAPTERS = os.path.join(checks.TOP, "tests", "clients", "adapters")
# The package with the newest librdkafka.
LIBRDKAFKA = "confluent-kafka==2.16.1"
# The pure Python client, and the packages that it takes its codecs from.
KAFKA_PYTHON = ("kafka-python==3.0.12", "cramjam==2.14.0", "python-snappy==0.7.3", "lz4==4.4.5", "zstandard==0.25.0")
SETUP_LIMIT_S = 600
DELETE_GROUPS = 42
OFFSET_DELETE = 47
CONSUMER_GROUP_HEARTBEAT = 68
# A member that dies is missed soon (the consumer protocol leaves no choice to the client).
QUICK = {"group.initial.rebalance.delay.ms": "1000",
         "group.consumer.session.timeout.ms": "8000", "group.consumer.heartbeat.interval.ms": "1000"}

numbers = itertools.count()
Record = collections.namedtuple("Record", "partition offset key value")


class Adapter:
    """An adapter's command and what it says that its client can do."""

    def __init__(self, t, command, features=None):
        self.t = t
        self.command = command
        self.mine = threading.local()  # .server of each thread
        self.features = features or self.run_once("features", {}, 180)[0]

    def inside(self, space):
        """The same in a network namespace."""
        return Adapter(self.t, space.prefix() + self.command, self.features)

    def files(self, verb):
        base = os.path.join(self.t.dir, f"{next(numbers)}-{verb}")
        return base + ".out", base + ".err"

    def run(self, verb, options, limit_s=180):
        """What one run to its end says, line by line."""
        if not self.features.get("serves"):
            return self.run_once(verb, options, limit_s)
        server = getattr(self.mine, "server", None)
        if not server or server.process.poll() is not None:
            server = self.mine.server = Server(self.t, self.command)
        return server.ask(verb, options, limit_s)

    def run_once(self, verb, options, limit_s):
        out, err = self.files(verb)
        with open(out, "wb") as o, open(err, "wb") as e:
            code = subprocess.run(self.command + [verb, json.dumps(options)], stdin=subprocess.DEVNULL,
                                  stdout=o, stderr=e, timeout=limit_s, check=False).returncode
        assert code == 0, f"{verb}: exit {code}: " + " | ".join(checks.ends_with(err, 8))
        return [json.loads(line) for line in open(out, encoding="utf-8")]


class Server:
    """An adapter that stays: it is asked one thing after the other."""

    def __init__(self, t, command):
        self.err = os.path.join(t.dir, f"{next(numbers)}-serve.err")
        self.process = subprocess.Popen(command + ["serve", "{}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(self.err, "wb"))
        t.undo.callback(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(self, verb, options, limit_s):
        watch = threading.Timer(limit_s, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write((json.dumps([verb, options]) + "\n").encode())
            self.process.stdin.flush()
            said = []
            for line in self.process.stdout:
                said.append(json.loads(line))
                if "exit" in said[-1]:
                    assert said.pop() == {"exit": 0}, f"{verb}: " + " | ".join(checks.ends_with(self.err, 8))
                    return said
        finally:
            watch.cancel()
        raise AssertionError(f"{verb}: the adapter has ended: " + " | ".join(checks.ends_with(self.err, 8)))


class Member:
    """A member of a group: a process."""

    def __init__(self, adapter, options):
        out, err = adapter.files("member")
        adapter.t.logs.append(err)
        self.process = subprocess.Popen(adapter.command + ["member", json.dumps(options)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(err, "wb"))
        adapter.t.undo.callback(self.kill)
        self.lock = threading.Lock()
        self.shares = []  # every share that it was ever told
        self.read = []
        self.reader = threading.Thread(target=self.listen, args=(out,), daemon=True)
        self.reader.start()

    def listen(self, out):
        with open(out, "wb") as copy:
            for line in self.process.stdout:
                copy.write(line)
                said = json.loads(line)
                with self.lock:
                    if "assigned" in said:
                        self.shares.append(set(said["assigned"]))
                    elif "record" in said:
                        self.read.append(Record(*said["record"]))

    def assigned(self):
        with self.lock:
            return self.shares[-1] if self.shares else set()

    def rebalances(self):
        with self.lock:
            return len(self.shares)

    def records(self):
        with self.lock:
            return list(self.read)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(30)

    def stop(self):
        """Commits and leaves the group."""
        self.process.stdin.close()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError("a member does not stop") from None
        self.reader.join(30)
        assert code == 0, f"a member ended with {code}"


class Scene:
    """One client against one broker."""

    def __init__(self, t, adapter, brokers, where=""):
        self.t = t
        self.where = where
        self.adapter = adapter
        self.brokers = brokers
        self.sent = collections.Counter()
        with wire.Connection(brokers) as c:
            self.apis = c.api_versions()

    def check(self, what):
        return self.t.check(self.where + what)

    def broker_has(self, api_key):
        return api_key in self.apis

    def options(self, topic, **more):
        return {"brokers": self.brokers, "topic": topic, **more}

    def create(self, topic, partitions, config=None):
        self.admin(["create", topic, partitions, config or {}])

    def admin(self, *steps):
        """The results of all steps; an error of any fails the check."""
        said = self.adapter.run("admin", {"brokers": self.brokers, "steps": steps})
        for step, s in zip(steps, said):
            assert "error" not in s, f"{step}: {s['error']}"
        assert len(said) == len(steps), f"{len(said)} answers to {len(steps)} steps"
        return [s["result"] for s in said]

    def refused(self, step):
        """The text of the error that a step ends with."""
        said = self.adapter.run("admin", {"brokers": self.brokers, "steps": [step]})
        assert "error" in said[0], f"{step}: {said[0]}"
        return said[0]["error"]

    def produce(self, topic, partitions, count, **more):
        """The values, a set: all of them acknowledged."""
        prefix = f"{topic}-{self.sent[topic]}-"
        self.sent[topic] += 1
        said = self.adapter.run("produce", self.options(topic, partitions=partitions, count=count, prefix=prefix, **more))
        assert said[-1] == {"acked": count}, f"produce: {said[-1]}"
        return {f"{prefix}{i}" for i in range(count)}

    def read(self, topic, partitions):
        return [Record(*s["record"]) for s in self.adapter.run("read", self.options(topic, partitions=partitions))]

    def member(self, topic, group, **more):
        return Member(self.adapter, self.options(topic, group=group, **more))


# --- what is looked at ---------------------------------------------------------------------------


def assert_in_order(records, values):
    """All values and nothing else, without holes, in each partition in the order they were sent in."""
    assert {r.value for r in records} == values and len(records) == len(values), \
        f"{len(records)} records, {len(values)} sent"
    parts = collections.defaultdict(list)
    for r in records:
        parts[r.partition].append(r)
    for p, rs in parts.items():
        assert [r.offset for r in rs] == list(range(len(rs))), f"partition {p}: offsets {[r.offset for r in rs][:20]}"
        numbers = [int(r.value.rsplit("-", 1)[1]) for r in rs]
        assert numbers == sorted(numbers), f"partition {p}: not in the order sent"
        assert all(r.key == f"k{n % 50}" for r, n in zip(rs, numbers)), f"partition {p}: wrong keys"


def split(members, partitions):
    shares = [m.assigned() for m in members]
    return sum(map(len, shares)) == partitions and set().union(*shares) == set(range(partitions))


def wait_for_split(members, partitions, least):
    """Until each partition has one owner and each member has at least so many."""
    checks.wait_until(f"{len(members)} members share {partitions} partitions, each once; they say "
                      f"{[sorted(m.assigned()) for m in members]}",
                      lambda: split(members, partitions) and all(len(m.assigned()) >= least for m in members), 90)


def wait_for_values(members, values, limit_s=90):
    checks.wait_until("all records are read",
                      lambda: values <= {r.value for m in members for r in m.records()}, limit_s, 0.05)


def assert_each_once_by_one(members, values):
    readers = collections.defaultdict(list)
    for i, m in enumerate(members):
        for r in m.records():
            if r.value in values:
                readers[r.partition].append((i, r.offset))
    for p, reads in readers.items():
        assert len({i for i, _ in reads}) == 1, f"partition {p} has had {len({i for i, _ in reads})} readers"
        offsets = [o for _, o in reads]
        assert offsets == sorted(set(offsets)), f"partition {p}: twice or out of order"


# --- what is done --------------------------------------------------------------------------------


def codecs(s):
    for codec in s.adapter.features["codecs"]:
        with s.check(f"{codec}: records come back as they were sent"):
            topic = f"codec-{codec}"
            s.create(topic, 3)
            values = s.produce(topic, 3, 300, codec=codec)
            assert_in_order(s.read(topic, 3), values)


def group(s, kind, **more):
    topic = name = f"group-{kind}"
    with s.check(f"{kind}: three members share twelve partitions, each record is read once by one of them"):
        s.create(topic, PARTITIONS)
        members = [s.member(topic, name, **more) for _ in range(3)]
        wait_for_split(members, PARTITIONS, 1)
        values = s.produce(topic, PARTITIONS, GROUP_RECORDS)
        wait_for_values(members, values)
        assert_each_once_by_one(members, values)
    with s.check(f"{kind}: a member dies, the others take its partitions over; a new one gets a share"):
        members.pop().kill()
        wait_for_split(members, PARTITIONS, 1)
        values = s.produce(topic, PARTITIONS, GROUP_RECORDS)
        wait_for_values(members, values)
        assert_each_once_by_one(members, values)
        members.append(s.member(topic, name, **more))
        wait_for_split(members, PARTITIONS, 1)
    with s.check(f"{kind}: one leaves, and what all have committed does not come again"):
        members.pop().stop()
        wait_for_split(members, PARTITIONS, 1)
        for m in members:
            m.stop()
        values = s.produce(topic, PARTITIONS, GROUP_RECORDS)
        late = s.member(topic, name, **more)
        wait_for_values([late], values)
        assert {r.value for r in late.records()} == values, "records from before the commit came again"
        late.stop()
    with s.check(f"{kind}: a second group gets everything"):
        values = {r.value for r in s.read(topic, PARTITIONS)}
        assert len(values) >= GROUP_RECORDS
        other = s.member(topic, name + "-other", **more)
        wait_for_values([other], values)
        other.stop()


def migration(s, strategy):
    """KIP-848: members go from the classic protocol to the consumer protocol one by one, and back."""
    topic, name = f"migration-{strategy}", f"migration-{strategy}"
    old, new = {"strategy": strategy}, {"protocol": "consumer"}
    s.create(topic, PARTITIONS)
    members = [s.member(topic, name, **old) for _ in range(2)]
    wait_for_split(members, PARTITIONS, 1)
    seen = set()

    def shared():
        wait_for_split(members, PARTITIONS, 1)
        values = s.produce(topic, PARTITIONS, GROUP_RECORDS)
        wait_for_values(members, values)
        assert_each_once_by_one(members, values)
        seen.update(values)

    def instead(options):
        members.pop(0).stop()
        members.append(s.member(topic, name, **options))

    with s.check(f"migration: {strategy} members and one of the consumer protocol share a group"):
        shared()
        members.append(s.member(topic, name, **new))
        shared()
    with s.check(f"migration: all {strategy} members go over"):
        instead(new)
        shared()
        instead(new)
        shared()
    with s.check(f"migration: and back to {strategy}"):
        instead(old)
        shared()
        instead(old)
        shared()
        instead(old)
        shared()
        for m in members:
            m.stop()
    with s.check(f"migration: what was committed in either protocol does not come again ({strategy})"):
        values = s.produce(topic, PARTITIONS, GROUP_RECORDS)
        late = s.member(topic, name, **new)
        wait_for_values([late], values)
        assert not {r.value for r in late.records()} & seen, "records from before the commit came again"
        late.stop()


def idle_member(s, **more):
    with s.check("a member more than partitions is idle, and takes over from one that dies"):
        s.create("few", 2)
        members = [s.member("few", "many", **more) for _ in range(3)]
        checks.wait_until("two of three members own a partition each",
                          lambda: split(members, 2) and sorted(len(m.assigned()) for m in members) == [0, 1, 1], 90)
        members.sort(key=lambda m: len(m.assigned()))
        members.pop().kill()
        wait_for_split(members, 2, 1)
        values = s.produce("few", 2, 100)
        wait_for_values(members, values)
        for m in members:
            m.stop()


def static_members(s, **more):
    with s.check("a static member that comes back has its partitions again, and the other has noticed nothing"):
        s.create("static", 4)
        first, second = (s.member("static", "statics", instance=f"i{i}", **more) for i in range(2))
        wait_for_split([first, second], 4, 1)
        had, rebalances = first.assigned(), second.rebalances()
        first.kill()
        again = s.member("static", "statics", instance="i0", **more)
        checks.wait_until("it has its partitions again", lambda: again.assigned() == had, 60)
        values = s.produce("static", 4, 100)
        wait_for_values([again, second], values)
        assert second.rebalances() == rebalances, "the other member was rebalanced"
        again.stop()
        second.stop()


def by_time(s):
    with s.check("the first record of a time is found"):
        s.create("times", 2)
        base = 1_700_000_000_000
        s.produce("times", 2, 200, timestamp_ms=base)
        said = s.adapter.run("by_time", s.options("times", partitions=2, timestamp_ms=base + 101))
        assert said[-1]["offsets"] == {"0": 51, "1": 50}, said


def admin(s):
    can = s.adapter.features["admin"]
    if "describe" in can:
        with s.check("admin: a topic is created, listed and described; twice is refused"):
            s.create("made", 3)
            names, count = s.admin(["list"], ["describe", "made"])
            assert "made" in names and count == 3, (names, count)
            assert re.search("exist", s.refused(["create", "made", 3, {}]), re.I)
    if "configs" in can:
        with s.check("admin: configs are described and altered"):
            s.create("set", 1, {"retention.ms": "7200000"})
            before = s.admin(["configs", "set"])[0]
            assert before["retention.ms"] == "7200000" and before["cleanup.policy"] == "delete", before
            s.admin(["alter", "set", {"retention.ms": "3600000"}])
            assert s.admin(["configs", "set"])[0]["retention.ms"] == "3600000"
    if "grow" in can:
        with s.check("admin: partitions are added"):
            s.create("grown", 1)
            s.admin(["grow", "grown", 4])
            checks.wait_until("four partitions", lambda: s.admin(["describe", "grown"]) == [4], 30, 0.1)
            assert_in_order(s.read("grown", 4), set())
            values = s.produce("grown", 4, 40)
            assert_in_order(s.read("grown", 4), values)
    if "delete_records" in can:
        with s.check("admin: records before an offset are deleted"):
            s.create("cut", 1)
            s.produce("cut", 1, 100)
            assert s.admin(["delete_records", "cut", 0, 40]) == [40]
            assert [r.offset for r in s.read("cut", 1)] == list(range(40, 100))
    if "groups" in can:
        with s.check("admin: groups are listed and described"):
            s.create("grouped", 2)
            values = s.produce("grouped", 2, 20)
            m = s.member("grouped", "admins", strategy=s.adapter.features["strategies"].get("eager"))
            wait_for_values([m], values)
            ids, about = s.admin(["groups"], ["describe_group", "admins"])
            assert "admins" in ids and about == {"state": "Stable", "members": 1}, (ids, about)
            m.stop()
            if "offsets" in can:
                assert s.admin(["offsets", "admins", "grouped", 2]) == [{"0": 10, "1": 10}]
            ids, about = s.admin(["groups"], ["describe_group", "admins"])
            assert "admins" in ids and about == {"state": "Empty", "members": 0}, (ids, about)
    if "delete_offsets" in can and s.broker_has(OFFSET_DELETE):
        with s.check("admin: a committed offset is deleted"):
            s.admin(["delete_offsets", "admins", "grouped", 1])
            assert s.admin(["offsets", "admins", "grouped", 2]) == [{"0": 10, "1": -1}]
    if "delete_group" in can and s.broker_has(DELETE_GROUPS):
        with s.check("admin: a group is deleted"):
            s.admin(["delete_group", "admins"])
            assert "admins" not in s.admin(["groups"])[0]
    if "delete" in can:
        with s.check("admin: a topic is deleted"):
            s.create("gone", 1)
            s.admin(["delete", "gone"])
            checks.wait_until("the topic is gone", lambda: "gone" not in s.admin(["list"])[0], 30, 0.1)


def everything(s):
    """All that the client can do: what is done one after the other is in one list."""
    f = s.adapter.features
    eager = f["strategies"]["eager"]
    jobs = [[(codecs, {})]]
    for kind, strategy in f["strategies"].items():
        jobs.append([(group, {"kind": kind, "strategy": strategy})])
    if f["new_protocol"] and s.broker_has(CONSUMER_GROUP_HEARTBEAT):
        jobs.append([(group, {"kind": "new-protocol", "protocol": "consumer"})])
        jobs += [[(migration, {"strategy": strategy})] for strategy in f["strategies"].values()]
    jobs.append([(idle_member, {"strategy": eager})])
    if f["static"]:
        jobs.append([(static_members, {"strategy": eager})])
    jobs[0] += ([(by_time, {})] if f["by_time"] else []) + [(admin, {})]
    return [(s, job) for job in jobs]


def basics(s):
    """What is looked at again on another transport."""
    f = s.adapter.features
    eager = f["strategies"]["eager"]
    jobs = [[(codecs, {})], [(group, {"kind": "eager", "strategy": eager})]]
    if f["new_protocol"] and s.broker_has(CONSUMER_GROUP_HEARTBEAT):
        jobs.append([(migration, {"strategy": eager})])
    return [(s, job) for job in jobs]


def do(job):
    scene, steps = job
    for what, options in steps:
        what(scene, **options)


def python_with(name, *requirements):
    """A Python of its own with these packages of PyPI (`name==version`), made once; its path."""
    where = os.path.join(checks.TOP, "build", "clients", name)
    python, stamp = os.path.join(where, "bin", "python3"), os.path.join(where, "installed")
    if not os.path.exists(stamp) or open(stamp, encoding="ascii").read() != repr(requirements):
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", where], check=True, timeout=SETUP_LIMIT_S)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
                       check=True, timeout=SETUP_LIMIT_S)
        with open(stamp, "w", encoding="ascii") as f:
            f.write(repr(requirements))
    return python


def installed(name, what, *commands):
    """The folder build/clients/NAME after these commands, run in it once for this `what`."""
    where = os.path.join(checks.TOP, "build", "clients", name)
    stamp = os.path.join(where, "installed")
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != what:
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        for command in commands:
            r = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=SETUP_LIMIT_S, check=False)
            if r.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {r.stdout[-3000:]}")
        with open(stamp, "w", encoding="utf-8") as f:
            f.write(what)
    return where


def text_of(*paths):
    return "".join(open(p, encoding="utf-8").read() for p in paths)


# A JVM that takes little: the quick compiler only, no threads for collecting, no file of counters.
JAVA = ["/usr/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-XX:-UsePerfData",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def java_program(name, source, version):
    """The command of a Java program `Adapter.java` that stands on its folder's pom.xml, with this version of Kafka.
    Maven verifies checksums; the classes that the program's verb `warm` needs are loaded from an archive later."""
    pom, program = os.path.join(source, "pom.xml"), os.path.join(source, "Adapter.java")
    where = os.path.join(checks.TOP, "build", "clients", name)
    archive = os.path.join(where, "classes.jsa")
    run = JAVA + ["-cp", f"{where}/adapter.jar:{where}/lib/*"]
    installed(name, version + text_of(pom, program),
              ["/usr/bin/mvn", "-q", "-B", "-C", "-f", pom, f"-Dkafka.version={version}", MAVEN_COPY,
               f"-DoutputDirectory={where}/lib"],
              ["/usr/bin/javac", "-nowarn", "-Xlint:-deprecation,-removal", "-cp", "lib/*", "-d", "classes", program],
              ["/usr/bin/jar", "cf", "adapter.jar", "-C", "classes", "."],
              run[:1] + [f"-XX:ArchiveClassesAtExit={archive}"] + run[1:] + ["Adapter", "warm", "{}"])
    return run[:1] + [f"-XX:SharedArchiveFile={archive}"] + run[1:] + ["Adapter"]


def node_program(name, source):
    """The command of a Node program `adapter.js` with the packages of its folder's package-lock.json."""
    files = [os.path.join(source, f) for f in ("package.json", "package-lock.json")]
    where = installed(name, text_of(*files), ["cp", *files, "."],
                      ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
    return ["env", f"NODE_PATH={where}/node_modules", "node", os.path.join(source, "adapter.js")]


def go_program(name, source):
    """The program of the folder `name` in a Go module, whose go.sum says what its packages must be."""
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk(source) for f in fs)
    where = os.path.join(checks.TOP, "build", "clients", name)
    env = [f"GOPATH={where}/path", f"GOCACHE={where}/cache", "GOFLAGS=-mod=readonly -modcacherw", "GOTOOLCHAIN=local"]
    installed(name, text_of(*files), ["cp", "-r", source, "source"],
              ["sh", "-c", f'cd source && exec env "$@" go build -o ../{name} ./{name}', "sh", *env])
    return [os.path.join(where, name)]


def main(t, command, all_on_dpdk=False):
    """All of it on the kernel's sockets, the basics or all on dpdk too, with two shards. Members mostly wait, so groups
    go at the same time."""
    adapter = Adapter(t, command)
    print("{name} {version}".format(**adapter.features), flush=True)
    jobs = everything(Scene(t, adapter, broker.Broker(t, sets=QUICK).start().address))
    tap = netns.Tap(t, {"shards": "2", **QUICK}, name="tap").start()
    with tap.client_side():
        scene = Scene(t, adapter.inside(tap.space), tap.broker.address, "dpdk over tap: ")
    jobs += everything(scene) if all_on_dpdk else basics(scene)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(do, job) for job in jobs]:
            done.result()
