#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of the project for tools/test.

Work is a list of items: one rule of tools/dev/check, one build, one unit test program, one script of
tests/{net,clients,system}, one fuzz target. An item passes when its command exits 0 within its time.
Its output is kept in build/test-logs/; of a failed item the end is shown.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "build")
LOGS = os.path.join(BUILD, "test-logs")
PARTS = ("check", "build", "unit", "tsan", "sim", "fuzz", "bench", "net", "clients", "system")
TAIL_LINES = 40
CPUS = os.cpu_count() or 1

# Unit tests with threads of their own: also run under ThreadSanitizer.
THREADED = re.compile(r"\bpthread_create\b|\bthrd_create\b")
THREADED_ROOMS = ("storage/worker", "dataplane/shard", "control/loop")


class Runner:
    def __init__(self, full):
        self.full = full
        self.passed = 0
        self.failed = []
        self.lock = threading.Lock()
        self.children = set()

    def stop_children(self):
        with self.lock:
            for pid in list(self.children):
                try:
                    os.killpg(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass

    def run(self, name, cmd, limit_s, cwd=TOP, env=None, quiet=False):
        """Runs one item; True when it passed."""
        log = os.path.join(LOGS, re.sub(r"[^\w.-]+", "_", name) + ".log")
        start = time.monotonic()
        with open(log, "wb") as out:
            out.write(("$ " + " ".join(cmd) + "\n").encode())
            out.flush()
            try:
                child = subprocess.Popen(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                         stderr=subprocess.STDOUT, start_new_session=True,
                                         env={**os.environ, **(env or {})})
            except OSError as e:
                out.write(f"cannot start: {e}\n".encode())
                return self.count(name, False, log, start, f"cannot start: {e}", quiet)
            with self.lock:
                self.children.add(child.pid)
            try:
                code = child.wait(limit_s)
                why = "" if code == 0 else f"exit code {code}" if code > 0 else f"signal {-code}"
            except subprocess.TimeoutExpired:
                why = f"not done within {limit_s:.0f} s"
                end_group(child)
            with self.lock:
                self.children.discard(child.pid)
        return self.count(name, why == "", log, start, why, quiet)

    def count(self, name, ok, log, start, why, quiet=False):
        took = time.monotonic() - start
        with self.lock:
            if ok:
                self.passed += 1
                if not quiet:
                    print(f"ok    {name} ({took:.1f} s)", flush=True)
            else:
                self.failed.append(name)
                print(f"FAIL  {name} ({took:.1f} s): {why}; {os.path.relpath(log, TOP)}", flush=True)
                for line in tail(log):
                    print("      | " + line, flush=True)
        return ok

    def fail(self, name, why):
        """An item that could not even be started."""
        log = os.path.join(LOGS, re.sub(r"[^\w.-]+", "_", name) + ".log")
        with open(log, "w", encoding="utf-8") as f:
            f.write(why + "\n")
        self.count(name, False, log, time.monotonic(), why)


def end_group(child):
    """Asks the item's process group to end, so that it can clean up; then makes it."""
    for sig, wait_s in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        try:
            os.killpg(child.pid, sig)
            child.wait(wait_s)
            if sig == signal.SIGKILL:
                return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def tail(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()
    failures = [l for l in lines[:-TAIL_LINES] if re.match(r"FAIL\b|\[  FAILED", l)]
    return failures[:10] + lines[-TAIL_LINES:]


# --- builds --------------------------------------------------------------------------------------

# name: (preset or None, extra cmake arguments)
BUILDS = {
    "release": ("release", ["-DMR_TESTS=ON", "-DMR_BENCHMARKS=ON"]),
    "clang": (None, ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_C_COMPILER=clang",
                     "-DCMAKE_CXX_COMPILER=clang++"]),
    "debug": ("debug", []),
    "asan": ("asan", []),
    "tsan": ("tsan", []),
    "fuzz": ("fuzz", ["-DMR_TESTS=OFF"]),
}
done_builds = {}


def build(r, name, targets=("all",)):
    """Configures and builds once per run; True when the build is there. Each build is one item."""
    key = (name, targets)
    if key in done_builds:
        return done_builds[key]
    preset, extra = BUILDS[name]
    cmake = ["cmake", "-G", "Ninja", "-S", TOP, "-B", os.path.join(BUILD, name)] if preset is None else \
        ["cmake", "--preset", preset]
    script = ('set -e; "$@" >/dev/null; exec ninja -C "$BUILD_DIR" -k 20 -j ' + str(CPUS) + " " + " ".join(targets))
    done_builds[key] = r.run(f"build {name}" + ("" if targets == ("all",) else f" {targets[0]}"),
                             ["bash", "-c", script, "build"] + cmake + extra, 1200,
                             env={"BUILD_DIR": os.path.join(BUILD, name)})
    return done_builds[key]


# --- parts ---------------------------------------------------------------------------------------


def part_check(r):
    rules = subprocess.run([os.path.join(TOP, "tools/dev/check"), "--list"], text=True,
                           capture_output=True, check=True).stdout.split()
    for rule in rules:
        if rule == "state" and not build(r, "release"):
            r.fail("check state", "needs the release build")
            continue
        r.run(f"check {rule}", [os.path.join(TOP, "tools/dev/check"), rule], 120)


def part_build(r):
    build(r, "release")
    build(r, "clang")


def unit_sources():
    return sorted(glob.glob(os.path.join(TOP, "tests/unit/**/test_*.c"), recursive=True))


def run_units(r, name, sources, env=None):
    with concurrent.futures.ThreadPoolExecutor(CPUS) as pool:
        for src in sources:
            t = os.path.splitext(os.path.basename(src))[0]
            pool.submit(r.run, f"unit {name} {t}", [os.path.join(BUILD, name, "unit", t)], 180, env=env)


SAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def part_unit(r):
    sources = unit_sources()
    if not sources:
        r.fail("unit", "no tests/unit/**/test_*.c")
        return
    for name in ("debug", "asan"):
        build(r, name, ("unit_tests",))
        run_units(r, name, sources, SAN_ENV)


def threaded(src):
    if os.path.relpath(os.path.dirname(src), os.path.join(TOP, "tests/unit")) in THREADED_ROOMS:
        return True
    with open(src, encoding="utf-8") as f:
        return bool(THREADED.search(f.read()))


def part_tsan(r):
    sources = [s for s in unit_sources() if threaded(s)]
    if not sources:
        r.fail("tsan", "no unit test with threads")
        return
    targets = tuple(os.path.splitext(os.path.basename(s))[0] for s in sources)
    build(r, "tsan", targets)
    run_units(r, "tsan", sources, SAN_ENV)


def part_sim(r, seed=None):
    if not build(r, "release"):
        r.fail("sim", "needs the release build")
        return
    millsim = os.path.join(BUILD, "release/millsim")
    if seed is not None:
        r.run(f"sim seed {seed}", [millsim, "--seed", str(seed)], 300)
        with open(os.path.join(LOGS, f"sim_seed_{seed}.log"), encoding="utf-8", errors="replace") as f:
            print(f.read(), end="")
        return
    seeds = 2000 if r.full else 200
    states = 1_000_000 if r.full else 20_000
    groups = []
    jobs = [(f"sim {seeds} seeds", ["--seeds", str(seeds)])]
    # Crash states in two halves, so that two processors share them; of different workloads.
    for first in (1, 100_001):
        jobs.append((f"sim {states // 2} crash states from {first}",
                     ["--crash", "--states", str(states // 2), "--first", str(first)]))
    jobs.append(("sim faults", ["--faults"] + ([] if r.full else ["--runs", "1500"])))
    jobs.append(("sim flipped bits", ["--flip", "--runs", "30000" if r.full else "3000"]))
    # The group coordinator, in two halves.
    worlds = 10_000 if r.full else 500
    for first in (1, 100_001):
        groups.append((f"sim groups, {worlds // 2} worlds from {first}",
                       ["--seeds", str(worlds // 2), "--first", str(first)]))
    # The checkers and the planted bugs: a simulator that finds nothing proves nothing.
    jobs.append(("sim self-test", ["--selftest"]))
    # Two TCP stacks on a bad wire, in two halves likewise.
    netsim = os.path.join(BUILD, "release/unit/test_netsim")
    wires = 20_000 if r.full else 1_000
    with concurrent.futures.ThreadPoolExecutor(CPUS) as pool:
        for name, options in jobs:
            pool.submit(r.run, name, [millsim] + options, 1200)
        for first in (1, 100_001):
            pool.submit(r.run, f"netsim {wires // 2} seeds from {first}",
                        [netsim, "--seeds", str(wires // 2), str(first)], 600)
        for name, options in groups:
            pool.submit(r.run, name, [os.path.join(BUILD, "release/groupsim")] + options, 600)
    r.run("mutations apply", [os.path.join(TOP, "tools/dev/mutate"), "--check"], 60)


def part_fuzz(r):
    if not build(r, "fuzz", ("fuzz_targets",)):
        r.fail("fuzz", "needs the fuzz build")
    sources = sorted(glob.glob(os.path.join(TOP, "tests/fuzz/fuzz_*.c")))
    if not sources:
        r.fail("fuzz", "no tests/fuzz/fuzz_*.c")
    # TCP has many states: five million inputs, most of them short, which take a tenth of the time of
    # those without limit. They begin first.
    budgets = {"fuzz_tcp": (("", 4_500_000, 1200, ["-max_len=64", "-entropic=0"]),
                            (" long", 500_000, 900, ["-entropic=0"]))} if r.full else {}
    usual = (("", 1_000_000, 120, []),) if r.full else (("", 50_000, 30, []),)
    sources.sort(key=lambda src: os.path.splitext(os.path.basename(src))[0] not in budgets)
    with concurrent.futures.ThreadPoolExecutor(CPUS) as pool, tempfile.TemporaryDirectory() as tmp:
        jobs = []
        for src in sources:
            name = os.path.splitext(os.path.basename(src))[0]
            short = name[len("fuzz_"):]
            seeds = [d for n in (short, name)
                     if os.path.isdir(d := os.path.join(TOP, "tests/fuzz/corpus", n))]
            for label, runs, limit_s, more in budgets.get(name, usual):
                corpus = os.path.join(tmp, name + label)  # libFuzzer writes into its first corpus folder
                os.mkdir(corpus)
                jobs.append(pool.submit(
                    r.run, f"fuzz {short}{label}",
                    [os.path.join(BUILD, "fuzz/fuzz", name), corpus] + seeds +
                    [f"-runs={runs}", f"-max_total_time={limit_s}", "-timeout=10", "-rss_limit_mb=2048",
                     "-print_final_stats=1", f"-artifact_prefix={LOGS}/{name}-"] + more,
                    limit_s + 90, env=SAN_ENV))
        concurrent.futures.wait(jobs)


def part_scripts(r, part):
    if not build(r, "release"):
        r.fail(part, "needs the release build")
        return
    scripts = sorted(glob.glob(os.path.join(TOP, "tests", part, "test_*.py")))
    if not scripts:
        r.fail(part, f"no tests/{part}/test_*.py")
    for script in scripts:
        name = os.path.splitext(os.path.basename(script))[0][len("test_"):]
        r.run(f"{part} {name}", [sys.executable, script] + (["--full"] if r.full else []),
              900 if r.full else 300)


# Scripts that run once more, in a full run, against the broker built with a sanitizer.
SANITIZED = {
    "asan": ("clients/test_real_input_kernel.py", "clients/test_millctl.py", "clients/test_topics.py",
             "clients/test_group_kcat.py", "net/test_hostile_kernel.py", "net/test_hostile_tap.py", "net/test_multi_shard.py",
             "system/test_kill9.py", "system/test_stop.py"),
    "tsan": ("clients/test_topics.py", "net/test_multi_shard.py", "system/test_stop.py"),
}


def part_sanitized(r):
    for name, scripts in SANITIZED.items():
        if not build(r, name, ("millrace", "millctl")):
            r.fail(f"{name} broker", "needs its build")
            continue
        for script in scripts:
            short = os.path.splitext(os.path.basename(script))[0][len("test_"):]
            r.run(f"{name} broker {short}", [sys.executable, os.path.join(TOP, "tests", script)], 900,
                  env={**SAN_ENV, "MILLRACE": os.path.join(BUILD, name, "millrace")})


def part_bench(r):
    if not build(r, "release"):
        r.fail("bench", "needs the release build")
        return
    r.run("bench micro", [os.path.join(BUILD, "release/micro"), "--benchmark_min_time=0.01"], 120)


def main():
    ap = argparse.ArgumentParser(prog="tools/test")
    ap.add_argument("--full", action="store_true", help="full budgets of seeds, fuzz runs and clients")
    ap.add_argument("--seed", type=int, help="with sim: replay this seed")
    ap.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    ap.error = lambda why: sys.exit(print(f"{ap.format_usage()}tools/test: {why}\n0 passed, 1 failed") or 2)
    args = ap.parse_intermixed_args()
    unknown = [p for p in args.parts if p not in PARTS]
    if unknown:
        ap.error(f"no part {unknown[0]}; parts: {' '.join(PARTS)}")
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    r = Runner(args.full)

    def stop(signum, frame):
        r.stop_children()
        sys.exit(128 + signum)

    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, stop)
    start = time.monotonic()
    for part in args.parts or PARTS:
        began = time.monotonic()
        print(f"-- {part}", flush=True)
        try:
            if part in ("net", "clients", "system"):
                part_scripts(r, part)
                if part == "system" and r.full:
                    part_sanitized(r)
            elif part == "sim":
                part_sim(r, args.seed)
            else:
                globals()["part_" + part](r)
        except Exception as e:  # a fault of the driver is a failed item, never a missing closing line
            r.fail(part, f"{type(e).__name__}: {e}")
        print(f"-- {part}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"took {time.monotonic() - start:.0f} s")
    for name in r.failed:
        print(f"failed: {name}")
    print(f"{r.passed} passed, {len(r.failed)} failed", flush=True)
    return 1 if r.failed else 0


if __name__ == "__main__":
    sys.exit(main())
