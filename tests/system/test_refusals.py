#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is wrong at the start is said in a sentence, with what to do; exit code 2 for the configuration, 1 else."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import re  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402
import netns  # noqa: E402

DENY = os.path.join(checks.TOP, "build", "release", "helpers", "deny_io_uring")
MEMLOCK = 8 << 20  # Debian's default
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def refused(b, code, *words):
    """The broker ends by itself with the exit code, never says ready, and says all the words."""
    b.spawn()
    got = b.wait(60)
    said = b.log()
    print("      " + said.strip().replace("\n", "\n      ")[-700:])
    assert got == code, f"exit code {got}, expected {code}: {said[-300:]}"
    assert "millrace ready" not in b.read(b.out)
    for w in words:
        assert re.search(w, said, re.I), f"says nothing of '{w}'"
    assert "CHECK(" not in said
    return said


def cli(*args):
    return subprocess.run([broker.BINARY, *args], stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60)


def configuration(t):
    wrong = [
        ("an unknown key names the nearest one", "num.partition", "3", "num.partitions"),
        ("another", "listener", "PLAINTEXT://127.0.0.1:1", "listeners"),
        ("a number that is none", "num.partitions", "many", "num.partitions"),
        ("a number out of range", "num.partitions", "0", "num.partitions"),
        ("a truth value that is none", "auto.create.topics.enable", "maybe", "auto.create.topics.enable"),
        ("a choice that does not exist", "network.transport", "pigeon", "kernel.*dpdk"),
        ("an address that is none", "listeners", "PLAINTEXT://127.0.0.1:99999", "listeners"),
        ("a protocol that is not served", "listeners", "SASL_SSL://127.0.0.1:9092", "listeners"),
        ("a durability that does not exist", "durability", "hope", "flush.*written"),
    ]
    for i, (what, key, value, word) in enumerate(wrong):
        with t.check(f"configuration: {what}: {key}={value}"):
            refused(broker.Broker(t, f"config{i}", sets={key: value}), 2, word)
    with t.check("configuration: dpdk without a port, and without an address"):
        refused(broker.Broker(t, "noport", sets={"network.transport": "dpdk", "dpdk.address": "10.0.0.1/24"}), 2,
                "dpdk.port")
        refused(broker.Broker(t, "noaddress", sets={"network.transport": "dpdk", "dpdk.port": "tap:x"}), 2,
                "dpdk.address")
    with t.check("configuration: a file that is not there; a file with a wrong line, named by its number"):
        r = cli("--config", os.path.join(t.dir, "nothing.properties"))
        assert r.returncode == 2 and "nothing.properties" in r.stderr, (r.returncode, r.stderr)
        path = os.path.join(t.dir, "wrong.properties")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# a comment\nnum.partitions=3\nlog.dir.s=/x\n")
        r = cli("--config", path, "--check")
        assert r.returncode == 2 and "log.dirs" in r.stderr and "3" in r.stderr, (r.returncode, r.stderr)
    with t.check("--check says whether a configuration is good; --print-config and --version answer"):
        path = os.path.join(t.dir, "good.properties")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"# good\nnum.partitions=7\nlog.dirs={t.dir}/good\n")
        r = cli("--config", path, "--check")
        assert r.returncode == 0, r.stderr
        r = cli("--config", path, "--set", "node.id=42", "--print-config")
        assert r.returncode == 0 and "num.partitions=7" in r.stdout and "node.id=42" in r.stdout, r.stdout + r.stderr
        r = cli("--version")
        assert r.returncode == 0 and re.search(r"millrace \d+\.\d+", r.stdout), r.stdout
        assert cli("--what").returncode == 2


def environment(t):
    with t.check("the port is in use"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            address = "127.0.0.1:%d" % s.getsockname()[1]
            refused(broker.Broker(t, "port", address=address), 1, address.split(":")[1], "in use", "listeners")
    with t.check("the admin port is in use"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            address = "127.0.0.1:%d" % s.getsockname()[1]
            refused(broker.Broker(t, "adminport", sets={"admin.listener": address}), 1, address.split(":")[1],
                    "in use", "admin.listener")
    with t.check("the data directory is locked by another broker, which goes on"):
        first = broker.Broker(t, "first").start()
        refused(broker.Broker(t, "second", data=first.data), 1, re.escape(first.data), "lock|another|in use")
        kcat.produce(first.address, "t", b"still here\n")
        first.stop()
    with t.check("a filesystem without O_DIRECT"):
        where = os.path.join(t.dir, "ramfs")
        os.mkdir(where)
        refused(broker.Broker(t, "ramfs", data=where, prefix=[
            "unshare", "-m", "sh", "-c", f"mount -t ramfs none '{where}' && exec \"$@\"", "sh"]), 1,
            re.escape(where), "O_DIRECT")
    with t.check("io_uring is forbidden"):
        refused(broker.Broker(t, "uring", prefix=[DENY]), 1, "io_uring", "io_uring_disabled|seccomp|container")
    with t.check("a DPDK port that does not exist"):
        ns = netns.Namespace(t, "b")
        refused(broker.Broker(t, "noiface", prefix=ns.prefix(), address="10.77.0.2:9092", sets={
            "network.transport": "dpdk", "dpdk.port": "af_xdp:nowhere0", "dpdk.address": "10.77.0.2/24"}), 1, "nowhere0")


class Ordinary:
    """A place where the user nobody may run the broker, wherever this tree is."""

    def __init__(self, t):
        self.dir = tempfile.mkdtemp(prefix="millrace-test-", dir="/var/tmp")
        t.undo.callback(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)
        self.binary = shutil.copy(broker.BINARY, self.dir)
        self.data = os.path.join(self.dir, "data")
        os.mkdir(self.data)
        os.chown(self.data, 65534, 65534)


def ordinary_user(t):
    o = Ordinary(t)
    with t.check("ordinary user: a data directory that is not writable"):
        closed = os.path.join(o.dir, "closed")
        os.mkdir(closed, 0o755)
        refused(broker.Broker(t, "closed", data=closed, binary=o.binary, prefix=NOBODY), 1, re.escape(closed),
                "permission|writable")
    with t.check("ordinary user: no permission for a DPDK port"):
        refused(broker.Broker(t, "noport2", data=o.data, binary=o.binary, prefix=NOBODY, address="10.77.0.2:9092", sets={
            "network.transport": "dpdk", "dpdk.port": "tap:mrdenied", "dpdk.address": "10.77.0.2/24"}), 1,
            "permission|permitted|root|CAP_NET_ADMIN")
    with t.check("ordinary user, little memory to lock: works without registered buffers and says so once"):
        b = broker.Broker(t, "ordinary", data=o.data, binary=o.binary,
                          prefix=["prlimit", f"--memlock={MEMLOCK}:{MEMLOCK}"] + NOBODY).start()
        kcat.produce(b.address, "t", b"".join(b"%d\n" % i for i in range(1000)))
        got = kcat.consume(b.address, "t")
        assert sorted(int(r.value) for r in got) == list(range(1000))
        assert b.metric("storage_registered_buffers") == 0
        said = re.findall(r"^.*RLIMIT_MEMLOCK.*$", b.log(), re.M)
        assert len(said) == 1, f"said {len(said)} times: {said[:3]}"
        code, _ = b.stop()
        assert code == 0, f"exit code {code}"
    with t.check("as root buffers are registered"):
        b = broker.Broker(t, "root").start()
        assert b.metric("storage_registered_buffers") == 1
        b.stop()


def main(t):
    configuration(t)
    environment(t)
    ordinary_user(t)


if __name__ == "__main__":
    checks.run(main)
