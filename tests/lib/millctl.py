# SPDX-License-Identifier: Apache-2.0
"""millctl against a broker, and librdkafka at the other end: what one writes the other reads."""
import json
import os
import signal
import subprocess
import threading

import broker
import checks
import kcat

MILLCTL = os.path.join(os.path.dirname(broker.BINARY), "millctl")
LIMIT_S = 120
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Ctl:
    """millctl with the address of one broker."""

    def __init__(self, address, prefix=()):
        self.env = dict(os.environ, MILLRACE_BOOTSTRAP=address)
        self.prefix = list(prefix)

    def start(self, *args, **how):
        return subprocess.Popen(self.prefix + [MILLCTL, *args], env=self.env, **how)

    def run(self, *args, data=None, code=0):
        r = subprocess.run(self.prefix + [MILLCTL, *args], env=self.env, input=data,
                           stdin=subprocess.DEVNULL if data is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S)
        said = r.stderr.decode(errors="replace")
        assert r.returncode == code, f"millctl {' '.join(args)}: exit {r.returncode}: {said[-500:]}"
        assert not code or said.startswith("millctl"), f"millctl {' '.join(args)} says {said!r}"
        return r.stdout if code == 0 else said

    def json(self, *args, data=None):
        return json.loads(self.run(*args, "--json", data=data))

    def records(self, *args):
        return [json.loads(line) for line in self.run("consume", *args, "--json").splitlines()]


def topics(t, ctl):
    with t.check("a topic is created, listed, described, altered and deleted"):
        made = ctl.json("topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=60000")
        assert made == {"topic": "orders", "created": True, "dry_run": False}, made
        assert {"topic": "orders", "partitions": 3, "replicas": 1, "internal": False} in \
            ctl.json("topic", "list")["topics"]
        one = ctl.json("topic", "describe", "orders")["topics"][0]
        assert [p["partition"] for p in one["partition_list"]] == [0, 1, 2]
        assert {c["key"]: c["value"] for c in one["configs"]}["retention.ms"] == "60000"
        ctl.run("topic", "alter", "orders", "--partitions", "5", "--config", "max.message.bytes=2000000",
                "--delete-config", "retention.ms")
        one = ctl.json("topic", "describe", "orders")["topics"][0]
        configs = {c["key"]: c["value"] for c in one["configs"]}
        assert one["partitions"] == 5 and configs["max.message.bytes"] == "2000000", one
        assert "retention.ms" not in configs, configs
        assert ctl.json("topic", "delete", "orders") == {"topics": [{"topic": "orders", "deleted": True}]}
        assert "orders" not in [x["topic"] for x in ctl.json("topic", "list")["topics"]]
    with t.check("what the broker refuses is exit code 1 with its error; what need not be so is none"):
        ctl.run("topic", "create", "twice")
        assert "TOPIC_ALREADY_EXISTS" in ctl.run("topic", "create", "twice", code=1)
        assert ctl.json("topic", "create", "twice", "--if-not-exists")["created"] is False
        assert "UNKNOWN_TOPIC" in ctl.run("topic", "delete", "nothing", code=1)
        assert ctl.json("topic", "delete", "nothing", "--if-exists")["topics"][0]["deleted"] is False
        assert "UNKNOWN_TOPIC" in ctl.run("topic", "describe", "nothing", code=1)
        assert "INVALID_TOPIC" in ctl.run("topic", "create", "not/a/name", code=1)
        assert "INVALID_CONFIG" in ctl.run("topic", "create", "odd", "--config", "no.such.key=1", code=1)
        assert "INVALID_PARTITIONS" in ctl.run("topic", "alter", "twice", "--partitions", "1", code=1)
        ctl.run("topic", "create", "checked", "--dry-run")
        assert "UNKNOWN_TOPIC" in ctl.run("topic", "describe", "checked", code=1)


def interop(t, ctl, address):
    lines = kcat.real_lines()[:3000]
    data = b"\n".join(lines) + b"\n"
    with t.check("librdkafka reads what millctl writes, in every codec, with and without idempotence"):
        for codec in CODECS:
            for more in ((), ("--idempotent",), ("--acks", "1"), ("--batch-bytes", "2000")):
                topic = "out-" + codec + "".join(more)
                ctl.run("topic", "create", topic, "--partitions", "1")
                told = json.loads(ctl.run("produce", topic, "--codec", codec, "--json", *more, data=data))
                assert told["records"] == len(lines), told
                got = kcat.read_all(address, topic, 1, check_crcs=True)
                assert [r.value for r in got] == lines, f"{topic}: {len(got)} records"
    with t.check("millctl reads what librdkafka writes, in every codec"):
        for codec in CODECS:
            topic = "in-" + codec
            ctl.run("topic", "create", topic, "--partitions", "1")
            kcat.produce(address, topic, data, "-z", codec)
            filled = [line for line in lines if line]
            assert ctl.run("consume", topic) == b"\n".join(filled) + b"\n", codec
    with t.check("a key goes to the partition that Java's and librdkafka's murmur2 choose"):
        ctl.run("topic", "create", "keyed", "--partitions", "7")
        ctl.run("topic", "create", "keyed-too", "--partitions", "7")
        pairs = b"".join(b"key %d|value %d\n" % (i, i) for i in range(500))
        ctl.run("produce", "keyed", "--key-separator", "|", data=pairs)
        kcat.produce(address, "keyed-too", pairs, "-K", "|", "-X", "partitioner=murmur2_random")
        ours = {(r["partition"], r["key"]) for r in ctl.records("keyed")}
        theirs = {(r["partition"], r["key"]) for r in ctl.records("keyed-too")}
        assert len(ours) == 500 and ours == theirs, ours ^ theirs


def records(t, ctl):
    with t.check("key, headers, null, bytes that are no text: a record comes back as it was sent"):
        ctl.run("produce", "exact", "--partition", "0", "--key", "k\"1", "--header", "a=b=c", "--header", "d=",
                "--null", "nil", data="plain\nnil\n\né\n".encode() + b"\xff\x00\n")
        got = ctl.records("exact")
        assert [r.get("value", r.get("value_base64")) for r in got] == ["plain", None, "", "é", "/wA="], got
        assert {r["key"] for r in got} == {"k\"1"} and [r["offset"] for r in got] == list(range(5))
        assert [(h["key"], h["value"]) for h in got[0]["headers"]] == [("a", "b=c"), ("d", "")]
        text = ctl.run("consume", "exact", "--count", "2", "--format", "%t/%p/%o %k %K %v %V [%h] 100%%\\n")
        assert text == b'exact/0/0 k"1 3 plain 5 [a=b=c,d=] 100%\nexact/0/1 k"1 3  -1 [a=b=c,d=] 100%\n', text
    with t.check("reading begins at the beginning, at the end, at an offset, before the end, at a time"):
        ctl.run("produce", "places", "--partition", "0", data=b"0\n1\n2\n3\n4\n")
        for where, first in (("beginning", 0), ("3", 3), ("-2", 3), ("end", 5), ("99", 5), ("-99", 0), ("time:-1h", 0),
                             ("time:2001-01-01", 0), ("time:2099-01-01T00:00:00Z", 5)):
            got = ctl.run("consume", "places", "--offset", where)
            assert got == b"".join(b"%d\n" % i for i in range(first, 5)), f"{where}: {got}"
        assert ctl.run("consume", "places", "--offset=1", "--count", "2") == b"1\n2\n"
        assert "no partition 77" in ctl.run("consume", "places", "--partition", "77", code=1)
    with t.check("one whole input as a record, larger than a batch"):
        big = os.urandom(700000)
        ctl.run("produce", "big", "--whole", "--batch-bytes", "1024", data=big)
        assert ctl.run("consume", "big", "--format", "%v") == big
        assert "MESSAGE_TOO_LARGE" in ctl.run("produce", "big", "--whole", data=bytes(3000000), code=1)
    with t.check("made-up records over several partitions arrive, with progress on stderr"):
        ctl.run("topic", "create", "load", "--partitions", "4")
        r = subprocess.run([MILLCTL, "produce", "load", "--count", "200000", "--size", "100", "--codec", "lz4",
                            "--progress", "--idempotent"], env=ctl.env, capture_output=True, timeout=LIMIT_S, check=True)
        assert b"100 %, 200000 records" in r.stderr, r.stderr
        parts = ctl.json("topic", "describe", "load")["topics"][0]["partition_list"]
        assert sum(p["end_offset"] for p in parts) == 200000 and all(p["end_offset"] for p in parts), parts
        numbers = [int(line.split()[0]) for line in ctl.run("consume", "load").splitlines()]
        assert sorted(numbers) == list(range(200000))
    with t.check("following: a record is printed when it comes; an interrupt ends it well"):
        p = ctl.start("consume", "places", "--follow", stdout=subprocess.PIPE)
        source = ctl.start("produce", "places", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        bound = threading.Timer(LIMIT_S, p.kill)  # a record that does not come ends the wait as an empty line
        bound.start()
        try:
            assert [p.stdout.readline() for _ in range(5)] == [b"%d\n" % i for i in range(5)]
            for i in range(3):
                source.stdin.write(b"live %d\n" % i)
                source.stdin.flush()  # the next one is written only when this one has been read
                assert p.stdout.readline() == b"live %d\n" % i
            source.stdin.close()
            assert source.wait(LIMIT_S) == 0
            p.send_signal(signal.SIGINT)
            assert p.wait(LIMIT_S) == 0
        finally:
            bound.cancel()
            p.kill()
            source.kill()
            p.wait()
            source.wait()
            p.stdout.close()


def groups(t, ctl, address):
    ctl.run("topic", "create", "shared", "--partitions", "3")
    for p in range(3):
        ctl.run("produce", "shared", "--partition", str(p), data=b"%d\n" % p * (10 + p))

    def offsets():
        return {o["partition"]: (o["committed"], o["end"], o["lag"])
                for o in ctl.json("group", "describe", "readers")["groups"][0]["offsets"]}
    with t.check("a group is listed and described with its members and its lag"):
        m = kcat.Member(t, "member", address, "readers", "shared")
        checks.wait_until("all read", lambda: len(m.records()) == 33)
        checks.wait_until("all committed", lambda: all(v[2] == 0 for v in offsets().values()) and len(offsets()) == 3)
        one = ctl.json("group", "describe", "readers")["groups"][0]
        assert one["state"] == "Stable" and one["lag"] == 0 and len(one["members"]) == 1, one
        assert {o["member"] for o in one["offsets"]} == {one["members"][0]["member"]}, one
        listed = [g for g in ctl.json("group", "list")["groups"] if g["group"] == "readers"]
        assert [g["state"] for g in listed] == ["Stable"], listed
        assert "members" in ctl.run("group", "reset", "readers", "--to", "earliest", code=1)
        m.stop()
        ctl.run("produce", "shared", "--partition", "1", data=b"more\nmore\n")
        assert offsets() == {0: (10, 10, 0), 1: (11, 13, 2), 2: (12, 12, 0)}, offsets()
    with t.check("offsets of a group are reset: shown first, then done"):
        shown = ctl.json("group", "reset", "readers", "--to", "earliest")
        assert shown["executed"] is False and [o["new"] for o in shown["offsets"]] == [0, 0, 0], shown
        assert offsets()[0][0] == 10
        ctl.run("group", "reset", "readers", "--to", "earliest", "--execute", "--topic", "shared:0,2")
        assert offsets() == {0: (0, 10, 10), 1: (11, 13, 2), 2: (0, 12, 12)}, offsets()
        for to, first in (("latest", 10), ("3", 3), ("-4", 6), ("99", 10), ("time:-1h", 0), ("time:2099-01-01", 10)):
            ctl.run("group", "reset", "readers", "--to", to, "--execute", "--topic", "shared:0")
            assert offsets()[0][0] == first, f"{to}: {offsets()}"
        ctl.run("group", "reset", "fresh", "--to", "2", "--execute", "--topic", "shared")
        assert ctl.json("group", "describe", "fresh")["groups"][0]["lag"] == 8 + 11 + 10
        assert "no offsets" in ctl.run("group", "reset", "unheard-of", "--to", "latest", code=1)
        assert "not there" in ctl.run("group", "reset", "fresh", "--to", "latest", "--topic", "shared:9", code=1)
        ctl.run("group", "reset", "fresh", "--to", "someday", code=2)
        ctl.run("group", "reset", "fresh", code=2)
        assert "GROUP_ID_NOT_FOUND" in ctl.run("group", "describe", "unheard-of", code=1)


def after_groups(t, ctl):
    with t.check("a group without members is deleted; log directories and quotas are shown"):
        assert ctl.json("group", "delete", "fresh") == {"groups": [{"group": "fresh", "deleted": True}]}
        assert "GROUP_ID_NOT_FOUND" in ctl.run("group", "delete", "fresh", code=1)
        dirs = ctl.json("cluster", "log-dirs")["log_dirs"]
        assert len(dirs) == 1 and dirs[0]["bytes"] > 0 and dirs[0]["error"] == "", dirs
        assert ctl.json("cluster", "quotas") == {"quotas": []}


def members(t, ctl, address):
    ctl.run("topic", "create", "shared-out", "--partitions", "4")

    def state():
        return ctl.json("group", "describe", "millctl-readers")["groups"][0]
    with t.check("a group goes on where it stopped, and is left at the end"):
        ctl.run("produce", "shared-out", "--key-separator", " ", data=b"".join(b"%d %d\n" % (i, i) for i in range(1000)))
        some = ctl.run("consume", "shared-out", "--group", "millctl-readers", "--count", "300").splitlines()
        rest = ctl.run("consume", "shared-out", "--group", "millctl-readers").splitlines()
        assert len(some) == 300 and sorted(map(int, some + rest)) == list(range(1000)), (len(some), len(rest))
        assert ctl.run("consume", "shared-out", "--group", "millctl-readers") == b""
        assert state()["state"] == "Empty" and state()["lag"] == 0, state()
        ctl.run("consume", "shared-out", "--group", "g", "--partition", "1", code=2)
    with t.check("members of millctl and of librdkafka share the partitions, whoever leads the group"):
        first = ctl.start("consume", "shared-out", "--group", "millctl-readers", "--follow", stdout=subprocess.DEVNULL)
        second = None
        try:
            checks.wait_until("the first has all", lambda: len({o["member"] for o in state()["offsets"]} - {""}) == 1)
            second = kcat.Member(t, "shares", address, "millctl-readers", "shared-out")
            checks.wait_until("both have some", lambda: len({o["member"] for o in state()["offsets"]} - {""}) == 2)
            assert sorted(o["partition"] for o in state()["offsets"]) == [0, 1, 2, 3], state()
            first.send_signal(signal.SIGINT)
            assert first.wait(LIMIT_S) == 0
            checks.wait_until("the second has all", lambda: second.assigned() == {0, 1, 2, 3})
            first = ctl.start("consume", "shared-out", "--group", "millctl-readers", "--follow",
                              stdout=subprocess.DEVNULL)
            checks.wait_until("both have some again", lambda: len(second.assigned()) == 2 and state()["state"] == "Stable")
            first.send_signal(signal.SIGTERM)
            assert first.wait(LIMIT_S) == 0
        finally:
            first.kill()
            first.wait()
            if second:
                second.kill()


def configs(t, ctl):
    with t.check("settings are shown with their source and synonyms, set, and deleted"):
        def of(what, key, *more):
            found = [k for k in ctl.json("config", "describe", what, *more)["configs"] if k["key"] == key]
            return found[0] if found else None
        ctl.run("topic", "create", "set")
        assert of("topic:set", "retention.ms") is None
        assert of("topic:set", "retention.ms", "--all")["source"] == "default"
        assert of("topic:set", "retention.ms", "--all", "--documentation")["documentation"]
        ctl.run("config", "set", "topic:set", "retention.ms=1234567", "cleanup.policy=compact,delete")
        one = of("topic:set", "retention.ms")
        assert (one["value"], one["source"], one["type"]) == ("1234567", "topic", "long"), one
        assert one["synonyms"][0] == {"synonym": "retention.ms", "value": "1234567", "source": "topic"}, one
        assert of("topic:set", "cleanup.policy")["value"] == "compact,delete"
        ctl.run("config", "set", "topic:set", "retention.ms=5", "--dry-run")
        ctl.run("config", "delete", "topic:set", "retention.ms")
        assert of("topic:set", "retention.ms") is None
        node = ctl.json("cluster", "describe")["brokers"][0]["broker"]
        assert of(f"broker:{node}", "num.partitions")["value"] == "1"
        assert "INVALID_CONFIG" in ctl.run("config", "set", "topic:set", "no.such.key=1", code=1)
        assert "UNKNOWN_TOPIC" in ctl.run("config", "describe", "topic:nothing", code=1)
        for wrong in (("set", "topic:set", "key"), ("delete", "topic:set", "a=b"), ("describe", "set"),
                      ("describe", "broker:x")):
            ctl.run("config", *wrong, code=2)


def cluster(t, ctl, address):
    with t.check("the cluster is described, and is well"):
        one = ctl.json("cluster", "describe")
        host, port = address.rsplit(":", 1)
        assert [(b["host"], b["port"], b["reachable"]) for b in one["brokers"]] == [(host, int(port), True)], one
        assert {"api": "Produce", "key": 0} == {k: v for k, v in one["apis"][0].items() if k in ("api", "key")}
        well = ctl.json("cluster", "health")
        assert well["healthy"] is True and well["brokers"] == 1 and well["trouble"] == [], well
        assert well["partitions"] == sum(x["partitions"] for x in ctl.json("topic", "list", "--internal")["topics"])
    with t.check("without --json people get tables"):
        for args in (("topic", "list"), ("topic", "describe", "shared"), ("group", "list"), ("cluster", "describe"),
                     ("group", "describe", "fresh"), ("config", "describe", "topic:set"), ("cluster", "health")):
            text = ctl.run(*args).decode()
            assert len(text.splitlines()) > 3, text


def failures(t, ctl):
    with t.check("a wrong command line is exit code 2 and says why"):
        for args in (("topic", "create"), ("topic", "create", "a", "b"), ("topic", "list", "--nonsense"),
                     ("produce", "a", "--codec", "brotli"), ("produce", "a", "--count", "x"), ("produce", "a", "--key"),
                     ("consume", "a", "--offset", "yesterday"), ("consume", "a", "--format", "%y"),
                     ("consume", "a", "--count=0"), ("produce", "a", "--idempotent", "--acks", "1"),
                     ("topic", "list", "--bootstrap", "no port:x"), ("nonsense",), ("topic",), ("topic", "nonsense"),
                     ("topic", "list", "--json=1"), ("produce", "a" * 40000), ("topic", "alter", "x")):
            assert len(ctl.run(*args, code=2)) > 20, args
    with t.check("no broker, or something that is none, is exit code 3 or 1, in time"):
        nobody = f"127.0.0.1:{broker.free_port()}"
        for args in (("topic", "list"), ("produce", "x", "--count", "1"), ("consume", "x")):
            assert "refused" in ctl.run(*args, "--bootstrap", nobody, "--timeout", "2", code=3)
        said = ctl.run("topic", "list", "--bootstrap", "no-such-host.invalid", "--timeout", "2", code=3)
        assert "no-such-host.invalid" in said, said
        assert ctl.json("topic", "list", "--bootstrap", nobody + "," + ctl.env["MILLRACE_BOOTSTRAP"])["topics"]
    with t.check("a reader that goes away is no error and no noise"):
        p = ctl.start("consume", "load", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert p.stdout.readline()
        p.stdout.close()
        said = p.stderr.read()
        p.stderr.close()
        assert p.wait(LIMIT_S) == 0 and said == b"", said


def help_texts(t, ctl):
    with t.check("every command has help, and the shells take their completion"):
        top = ctl.run("--help").decode()
        for command in ("topic create", "produce", "consume", "group reset", "config set", "cluster health", "completion",
                        "inspect"):
            assert f"  {command} " in top, top
            ctl.run(*command.split(), "--help")
        script = ctl.run("completion", "bash").decode()
        asked = script + '\nCOMP_WORDS=(millctl topic create --part); COMP_CWORD=3; _millctl; echo "${COMPREPLY[@]}"' \
            + '\nCOMP_WORDS=(millctl to); COMP_CWORD=1; _millctl; echo "${COMPREPLY[@]}"' \
            + '\nCOMP_WORDS=(millctl topic cr); COMP_CWORD=2; _millctl; echo "${COMPREPLY[@]}"' \
            + '\nCOMP_WORDS=(millctl produce x --codec z); COMP_CWORD=4; _millctl; echo "${COMPREPLY[@]}"'
        r = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=LIMIT_S, check=True)
        assert r.stdout.split() == ["--partitions", "topic", "create", "zstd"], r.stdout + r.stderr
        assert b"complete -c millctl" in ctl.run("completion", "fish")
        assert b"bashcompinit" in ctl.run("completion", "zsh")
        ctl.run("completion", "cmd.exe", code=2)
    with t.check("docs/MILLCTL.md is what `millctl markdown` prints"):
        with open(os.path.join(checks.TOP, "docs", "MILLCTL.md"), "rb") as f:
            assert f.read() == ctl.run("markdown")


def everything(t, way):
    """`way` is a transport of netns, with auto.create.topics.enable and num.partitions=1."""
    address = way.broker.address
    with way.client_side():
        ctl = Ctl(address)
        topics(t, ctl)
        interop(t, ctl, address)
        records(t, ctl)
        groups(t, ctl, address)
        members(t, ctl, address)
        configs(t, ctl)
        cluster(t, ctl, address)
        after_groups(t, ctl)
        failures(t, ctl)
        help_texts(t, ctl)


SETS = {"auto.create.topics.enable": "true", "num.partitions": "1"}
