# SPDX-License-Identifier: Apache-2.0
"""Named checks of one test script, and the frame that every script runs in.

    def main(t):
        with t.check("a record comes back as it was sent"):
            assert ...

    if __name__ == "__main__":
        checks.run(main)

Prints PASS or FAIL for each check; the script's exit code is 1 when one failed or none ran.
"""
import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Test:
    """What a script is given: checks, a work folder on a disk, things to undo at the end."""

    def __init__(self, name, full, seed, rounds=None):
        self.name = name
        self.full = full
        self.rounds = rounds  # as asked for by --rounds; None: the script's own
        self.seed = seed
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = 0
        self.undo = contextlib.ExitStack()
        self.logs = []  # files whose end helps when a check fails
        root = os.path.join(TOP, "build", "test-data")
        os.makedirs(root, exist_ok=True)
        self.dir = tempfile.mkdtemp(prefix=name + "-", dir=root)
        self.undo.callback(shutil.rmtree, self.dir, ignore_errors=True)

    @contextlib.contextmanager
    def check(self, what):
        start = time.monotonic()
        try:
            yield
        except Exception as e:
            with self.lock:
                self.failed += 1
            print(f"FAIL  {what}: {e or type(e).__name__}")
            if not isinstance(e, AssertionError) or not str(e):
                traceback.print_exc(file=sys.stdout)
        else:
            with self.lock:
                self.passed += 1
            print(f"PASS  {what} ({time.monotonic() - start:.1f} s)")
        sys.stdout.flush()


def ends_with(path, lines=100):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()[-lines:]
    except OSError:
        return []


def run(main):
    ap = argparse.ArgumentParser()
    ap.add_argument("--full", action="store_true")
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    ap.add_argument("--rounds", type=int)
    args = ap.parse_args()
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]

    def stop(signum, frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    t = Test(name, args.full, args.seed, args.rounds)
    print(f"{name} --seed {args.seed}", flush=True)
    try:
        with t.undo:
            try:
                main(t)
            except Exception:
                t.failed += 1
                print("FAIL  the script itself")
                traceback.print_exc(file=sys.stdout)
            if t.failed:
                for path in t.logs:
                    print(f"--- end of {os.path.relpath(path, t.dir)}")
                    print("\n".join(ends_with(path)))
    finally:
        print(f"{t.passed} checks passed, {t.failed} failed", flush=True)
    if t.passed == 0 and t.failed == 0:
        print("FAIL  no check ran")
        sys.exit(1)
    sys.exit(1 if t.failed else 0)


def wait_until(what, condition, limit_s=30, step_s=0.02):
    """Looks until condition() is true and returns its value. A bound for a hang, not a measure of speed."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(step_s)
