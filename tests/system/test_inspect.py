#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`millctl inspect` on what a broker left: after kill -9, after a clean stop, and after each kind of damage."""
import glob
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker  # noqa: E402
import checks  # noqa: E402
import kcat  # noqa: E402

MILLCTL = os.path.join(os.path.dirname(broker.BINARY), "millctl")
RECORDS = 60000
FLIPS = 12  # of random bits in each kind of file
PAGE = 4096


def run(*args):
    """(exit code, stdout, stderr)"""
    p = subprocess.run([MILLCTL, "inspect", *args], capture_output=True, text=True, timeout=120, check=False)
    assert p.returncode in (0, 1, 2), f"{args}: {p.returncode} {p.stderr[-2000:]}"
    return p.returncode, p.stdout, p.stderr


def show(*args, code=0):
    got, out, err = run("--json", *args)
    assert got == code, f"{args}: exit code {got}: {err[-400:]} {out[-1000:]}"
    return json.loads(out)


def verify(path, code=0):
    return show("verify", path, code=code)


def fill(b):
    """Two partitions over several segments, in small and large batches, and one that stays empty."""
    kcat.create_topic(b.address, "alpha", 3)
    for batch in (16384, 1 << 20):
        sent = kcat.Deliveries(b.address, acks="all", linger_ms=5, batch_size=batch, compression_type="none")
        for i in range(RECORDS // 2):
            large = batch > 16384 and i < 8  # goes straight to its segment
            sent.send("alpha", b"%08d" % i * (75000 if large else 10), partition=i % 2)
            if i % 1000 == 0:
                sent.producer.poll(0)
        assert sent.producer.flush(30) == 0
        sent.producer.poll(0)


def copy(t, source, name):
    """Like cp --sparse: journals are large and mostly empty."""
    target = os.path.join(t.dir, name)
    subprocess.run(["cp", "-r", "--sparse=always", source, target], check=True)
    return target


class Damage:
    """Changes a file and puts it back."""

    def __init__(self, t, path):
        self.path = path
        self.saved = os.path.join(t.dir, "whole-file")

    def __enter__(self):
        subprocess.run(["cp", "--sparse=always", self.path, self.saved], check=True)
        return self

    def flip(self, pos, bit):
        with open(self.path, "r+b") as f:
            f.seek(pos)
            byte = f.read(1)[0]
            f.seek(pos)
            f.write(bytes([byte ^ 1 << bit]))

    def write(self, pos, data):
        with open(self.path, "r+b") as f:
            f.seek(pos)
            f.write(data)

    def __exit__(self, *exc):
        os.replace(self.saved, self.path)


def each_flip_is_found(t, path, first, last, code=1):
    rng = random.Random(path[-40:])
    directory = path
    while not os.path.exists(os.path.join(directory, "meta")):
        directory = os.path.dirname(directory)
    with Damage(t, path) as d:
        for _ in range(FLIPS):
            pos, bit = rng.randrange(first, last), rng.randrange(8)
            d.flip(pos, bit)
            found = verify(directory, code)
            assert found["findings"], f"bit {bit} of byte {pos} of {path} went unseen"
            d.flip(pos, bit)
    assert not verify(directory)["findings"]


def segments(data, topic="alpha", partition=0):
    log = show("log", data, f"{topic}-{partition}")
    return os.path.join(data, log["directory"]), log["segments"]


def look(data):
    """What each command says agrees with what was produced."""
    what = show("dir", data)
    assert {(l["topic"], l["log_end"]) for l in what["logs"]} == {("alpha", RECORDS // 2), ("alpha", 0)}, what["logs"]
    for p in range(2):
        path, parts = segments(data, partition=p)
        assert len(parts) > 1 and parts[-1]["state"] == "active", parts
        for before, after in zip(parts, parts[1:]):
            assert before["end_offset"] in (after["segment"], -1), parts
    for args in (("dir", data), ("journal", data), ("checkpoint", data), ("verify", data), ("log", data, "alpha-1")):
        code, text, err = run(*args)
        assert code == 0 and text, f"{args}: {code} {err}"


def sealed(data):
    path, parts = segments(data)
    first = parts[0]
    assert first["state"] == "sealed", first
    name = os.path.join(path, "%020d" % first["segment"])
    got = show("segment", name + ".log")
    assert got["end_offset"] == first["end_offset"] and got["end_pos"] == first["bytes"], got
    assert sum(b["count"] for b in got["batch"]) == got["record_count"] == first["end_offset"]
    got = show("segment", "--records", name + ".log")
    records = [r for b in got["batch"] for r in b["records"]]
    assert [r["record"] for r in records] == list(range(first["end_offset"]))
    assert records[0]["value"] == "00000000" * 10 and records[0]["key"] is None
    index = show("index", name + ".index")
    assert [p["valid"] for p in index["page"]] == ["yes"] * index["pages"], index["page"]
    assert index["page"][-1]["sealed"] and index["page"][-1]["end_offset"] == first["end_offset"]
    return name, first


def main(t):
    b = broker.Broker(t, sets={"log.segment.bytes": str(2 << 20)}).start()
    fill(b)
    with t.check("with a broker running it says so, and takes no lock"):
        code, out, err = run("dir", b.data)
        assert code == 0 and "a broker runs" in err and "alpha" in out, err
        assert b.alive()
    b.kill()
    killed = copy(t, b.data, "killed")
    with t.check("after kill -9 all is whole, and the journal has what was acknowledged"):
        assert not verify(killed)["findings"]
        assert verify(killed)["journal_groups"] > 0
        look(killed)
        assert "a broker runs" not in run("dir", killed)[2]
    b.start()
    code, _ = b.stop()
    assert code == 0
    clean = b.data
    with t.check("after a clean stop all is whole, and the journal is empty"):
        seen = verify(clean)
        assert not seen["findings"] and seen["journal_groups"] == 0, seen
        assert seen["blocks"] > 0 and seen["batches"] > 0 and seen["index_pages"] > 0
        look(clean)
    with t.check("a sealed segment, its records and its index are shown"):
        name, first = sealed(clean)
    with t.check("each flipped bit of a segment, an index, meta and log.meta is corruption"):
        each_flip_is_found(t, name + ".log", 0, first["bytes"])
        each_flip_is_found(t, name + ".index", 0, PAGE)
        each_flip_is_found(t, os.path.join(clean, "meta"), 0, 48)
        each_flip_is_found(t, os.path.join(os.path.dirname(name), "log.meta"), 0, 312)
    with t.check("each flipped bit of the active segment below its end is corruption"):
        path, parts = segments(clean)
        active = show("log", clean, "alpha-0")["checkpoint"]
        assert active["fill_pos"] > 0
        each_flip_is_found(t, os.path.join(path, "%020d.log" % active["segment"]), 0, active["fill_pos"])
    with t.check("a block of another place is corruption, though its batches are whole"):
        with Damage(t, name + ".log") as d:
            other = glob.glob(os.path.join(clean, "*-1", "%020d.log" % 0))[0]
            with open(other, "rb") as f:
                d.write(0, f.read(first["file_bytes"]))
            assert verify(clean, 1)["corrupt"] > 0
    with t.check("missing segments and indexes are corruption"):
        for kind in (".log", ".index"):
            os.rename(name + kind, os.path.join(t.dir, "away"))
            assert verify(clean, 1)["corrupt"] > 0
            os.rename(os.path.join(t.dir, "away"), name + kind)
        assert not verify(clean)["findings"]
    with t.check("what does not belong there is listed, and is not corruption"):
        strays = [os.path.join(clean, "stray"), os.path.join(os.path.dirname(name), "stray"),
                  os.path.join(clean, "meta.tmp"), name + ".log.cleaned"]
        for path in strays:
            with open(path, "wb"):
                pass
        found = verify(clean)["findings"]
        assert sorted(os.path.basename(f["where"]) for f in found) == sorted(map(os.path.basename, strays)), found
        for path in strays:
            os.unlink(path)
    with t.check("one damaged checkpoint is a note, two are corruption"):
        slots = sorted(glob.glob(os.path.join(clean, "checkpoint-0.?")))
        newest = os.path.join(clean, next(s["file"] for s in show("checkpoint", clean)["slots"] if s["newest"]))
        each_flip_is_found(t, newest, 0, 104, 0)
        with Damage(t, slots[0]) as d:
            d.flip(30, 1)
            with open(slots[1], "r+b") as f:
                f.write(b"?")
            assert verify(clean, 1)["corrupt"] > 0
            with open(slots[1], "r+b") as f:
                f.write(b"M")
    journal_damage(t, killed)
    with t.check("what cannot be done is said, with exit code 2"):
        for args in ((), ("verify",), ("nothing", clean), ("verify", clean, clean), ("dir", os.path.join(t.dir, "no")),
                     ("log", clean, "beta-0"), ("segment", os.path.join(clean, "meta")), ("--what", "dir", clean),
                     ("journal", "--worker", "9", clean), ("verify", os.path.dirname(name))):
            code, _, err = run(*args)
            assert code == 2 and err.startswith("millctl: ") and "Traceback" not in err, f"{args}: {code} {err}"
        code, out, _ = run("--help")
        assert code == 0 and "inspect verify DIR" in out


def journal_damage(t, killed):
    journal = os.path.join(killed, "journal-0")
    groups = show("journal", killed)["journals"][0]["groups"]
    middle, last = groups[len(groups) // 2], groups[-1]
    with t.check("a damaged group before the last one is corruption, a damaged last one is a torn end"):
        each_flip_is_found(t, journal, middle["file_pos"], middle["file_pos"] + middle["length"])
        each_flip_is_found(t, journal, last["file_pos"] + 64, last["file_pos"] + last["length"], 0)
        with Damage(t, journal) as d:
            d.write(last["file_pos"] + PAGE, bytes(PAGE))
            end = show("journal", killed)["journals"][0]["end"]
            if last["length"] > PAGE:
                assert end["why"].startswith("torn") and end["next_seq"] == last["seq"], end
    with t.check("a damaged head of the journal is corruption"):
        each_flip_is_found(t, journal, 0, 72)
    with t.check("a direct run that is not in its segment is corruption"):
        runs = [(g, e) for g in groups[:-1] for e in g["entries"] if e["kind"] == "direct"]
        assert runs, "large batches went through the journal"
        _, e = runs[len(runs) // 2]
        logs = {l["number"]: l["log"] for l in show("dir", killed)["logs"]}
        path = os.path.join(killed, logs[e["log"]], "%020d.log" % e["segment"])
        each_flip_is_found(t, path, e["pos"], e["pos"] + e["length"])


if __name__ == "__main__":
    checks.run(main)
