#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the start needed is given up before clients are served: user, groups, capabilities. Needs root."""
import os
import pwd
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker  # noqa: E402
import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

USER = "nobody"
NET_ADMIN, IPC_LOCK, BPF = 1 << 12, 1 << 14, 1 << 39


def own(t, path):
    """The user may reach and write the folder."""
    who = pwd.getpwnam(USER)
    os.chmod(t.dir, 0o755)
    os.chown(path, who.pw_uid, who.pw_gid)


def threads(pid):
    """The status file of each thread, as a dict."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def is_plain(pid, keep=0, user=USER):
    who = pwd.getpwnam(user)
    for s in threads(pid):
        assert s["Uid"].split() == [str(who.pw_uid)] * 4, s["Uid"]
        assert s["Gid"].split() == [str(who.pw_gid)] * 4, s["Gid"]
        assert str(0) not in s["Groups"].split(), s["Groups"]
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(s[kind], 16) & ~(keep | IPC_LOCK) == 0, f"{s['Name']}: {kind} {s[kind]}"


def serves(t, b, space):
    with space() as _:
        with wire.Connection(b.address) as c:
            c.create_topic("t", 3)
            for p in range(3):
                error, _ = c.produce("t", p, wire.batch([b"x" * 100000]))
                assert error == 0, error


def transports(t):
    for kind, keep in ((netns.Kernel, 0), (netns.Tap, 0), (netns.AfXdp, NET_ADMIN | BPF)):
        transport = kind(t, sets={"process.user": USER, "shards": "1"}, name="broker-" + kind.name)
        b = transport.broker
        own(t, b.data)
        with t.check(f"{kind.name}: the broker becomes {USER}, in all its threads, and serves"):
            transport.start()
            is_plain(b.pid, keep)
            assert "RLIMIT_MEMLOCK" not in b.log()
            serves(t, b, transport.client_side)
        with t.check(f"{kind.name}: it stops in order, and starts again on what it has written"):
            code, _ = b.stop()
            assert code == 0, b.log()
            assert all(os.stat(os.path.join(b.data, f)).st_uid != 0 for f in os.listdir(b.data))
            transport.start()
            serves(t, b, transport.client_side)
            assert b.stop()[0] == 0
    with t.check("af_xdp: its program is taken off the interface at the end"):
        assert "xdp" not in transport.broker_space.ip("link", "show", "mrb")


def refused(t, name, sets, prefix, want):
    b = broker.Broker(t, name=name, sets=sets, prefix=prefix)
    own(t, b.data)
    b.spawn()
    code = b.wait()
    assert code == 1 and want in b.log(), f"{code}: {b.log()}"


def main(t):
    transports(t)
    with t.check("a port below 1024 is bound before"):
        space = netns.Namespace(t, "p")
        b = broker.Broker(t, name="low", sets={"process.user": USER}, address="127.0.0.1:92", prefix=space.prefix(),
                          space=space)
        own(t, b.data)
        b.start()
        is_plain(b.pid)
        serves(t, b, space.entered)
        b.stop()
    with t.check("a user that does not exist is refused with advice"):
        refused(t, "who", {"process.user": "no-such-user"}, (), "useradd --system no-such-user")
    unprivileged = ("setpriv", f"--reuid={USER}", "--clear-groups")
    with t.check("who is not root cannot become another"):
        refused(t, "cannot", {"process.user": "daemon"}, unprivileged, "only root can become another user")
    with t.check("capabilities that the start was given are given up"):
        gid = str(pwd.getpwnam(USER).pw_gid)
        b = broker.Broker(t, name="caps", prefix=("setpriv", f"--reuid={USER}", f"--regid={gid}", "--clear-groups",
                                                  "--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw"))
        own(t, b.data)
        b.start()
        is_plain(b.pid)
        assert all(s["NoNewPrivs"] == "1" for s in threads(b.pid))
        assert b.stop()[0] == 0


if __name__ == "__main__":
    checks.run(main)
