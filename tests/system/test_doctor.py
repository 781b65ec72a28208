#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`millctl doctor` on machines that are made up: folders with a /sys, /proc and /dev of their own."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker  # noqa: E402
import checks  # noqa: E402

MILLCTL = os.path.join(os.path.dirname(broker.BINARY), "millctl")
HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
PCI = "/sys/bus/pci/devices/"
ETHERNET = "0x020000"


class Machine:
    """One with which nothing is wrong, to be spoilt."""

    def __init__(self, t, name):
        self.root = os.path.join(t.dir, name)
        self.data = os.path.join(self.root, "data")
        os.makedirs(self.data)
        dev = os.stat(self.data).st_dev
        self.dev = f"{os.major(dev)}:{os.minor(dev)}"
        self.queue = f"/sys/dev/block/{self.dev}/queue/"
        for path, text in {
            HUGE: "512",
            "/proc/self/limits": "Limit  Soft Limit  Hard Limit  Units\n"
                                 "Max locked memory         unlimited            unlimited            bytes\n"
                                 "Max open files            1048576              1048576              files",
            "/sys/devices/system/node/online": "0",
            "/sys/devices/system/cpu/isolated": "2-3",
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
            "/proc/sys/kernel/io_uring_disabled": "0",
            "/proc/sys/net/core/somaxconn": "4096",
            "/proc/swaps": "Filename Type Size Used Priority",
            "/proc/self/mountinfo": f"22 1 {self.dev} / / rw - ext4 /dev/vda rw",
            "/proc/cpuinfo": "vendor_id\t: GenuineIntel",
            "/dev/net/tun": "",
            "/dev/vfio/vfio": "",
            "/sys/bus/pci/drivers/vfio-pci/bind": "",
            "/sys/kernel/iommu_groups/0/type": "DMA",
            self.queue + "scheduler": "[none] mq-deadline",
            self.queue + "write_cache": "write through",
            self.queue + "rotational": "0",
        }.items():
            self.put(path, text)
        self.card("0000:03:00.0", "0x8086", "vfio-pci")

    def put(self, path, text):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text + "\n")
        return self

    def drop(self, path):
        os.unlink(self.root + path)
        return self

    def card(self, address, vendor, driver, interface=None, kind=ETHERNET):
        self.put(f"{PCI}{address}/class", kind)
        self.put(f"{PCI}{address}/vendor", vendor)
        at = f"{self.root}{PCI}{address}/driver"
        if os.path.islink(at):
            os.unlink(at)
        os.symlink(f"../../drivers/{driver}", at)
        if interface:
            self.put(f"{PCI}{address}/net/{interface}/mtu", "1500")
            os.symlink("../..", f"{self.root}{PCI}{address}/net/{interface}/device")
            os.makedirs(f"{self.root}/sys/class/net", exist_ok=True)
            os.symlink(f"{self.root}{PCI}{address}/net/{interface}", f"{self.root}/sys/class/net/{interface}")
        return self

    def look(self):
        """(exit code, findings by check)"""
        p = subprocess.run([MILLCTL, "doctor", "--json", "--root", self.root, "--data", self.data],
                           capture_output=True, text=True, timeout=60, check=False)
        assert p.returncode in (0, 1) and not p.stderr, f"{p.returncode} {p.stderr}"
        report = json.loads(p.stdout)
        assert report["ready"] == (p.returncode == 0)
        found = {}
        for f in report["findings"]:
            assert set(f) == {"check", "verdict", "what", "why", "repair"} and f["what"], f
            assert f["verdict"] == "ok" or f["why"], f"no reason: {f}"
            found.setdefault(f["check"], []).append(f)
        return p.returncode, found


def has(found, check, verdict, text="", repair=None):
    for f in found.get(check, []):
        everything = " ".join(str(v) for v in f.values())
        if f["verdict"] == verdict and text in everything and (repair is None or repair in (f["repair"] or "")):
            return
    raise AssertionError(f"no {verdict} of {check} with {text!r} and {repair!r}: {found.get(check)}")


# what is done to the machine: what must be found
SPOILT = {
    "no free hugepages": (lambda m: m.put(HUGE, "0"), "hugepages", "warn", "0 MiB", "sysctl -w vm.nr_hugepages="),
    "little locked memory": (
        lambda m: m.put("/proc/self/limits", "Max locked memory         65536                65536                bytes"),
        "locked-memory", "warn", "65536", "LimitMEMLOCK"),
    "few open files": (
        lambda m: m.put("/proc/self/limits", "Max open files            1024                 4096                 files"),
        "open-files", "warn", "1024", "LimitNOFILE"),
    "two NUMA nodes": (
        lambda m: m.put("/sys/devices/system/node/online", "0-1").put("/sys/devices/system/node/node1/cpulist", "8-15"),
        "numa", "note", "8-15", "shard.cpus"),
    "no isolated CPU": (lambda m: m.put("/sys/devices/system/cpu/isolated", ""), "cpu-isolation", "note", "", "isolcpus"),
    "a governor that saves power": (
        lambda m: m.put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
        "cpu-frequency", "warn", "powersave", "cpupower"),
    "a slow clock": (
        lambda m: m.put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
        "clock", "warn", "hpet", "tsc"),
    "io_uring switched off": (
        lambda m: m.put("/proc/sys/kernel/io_uring_disabled", "2"), "io_uring", "fail", "", "io_uring_disabled=0"),
    "AppArmor": (
        lambda m: m.put("/sys/module/apparmor/parameters/enabled", "Y").put("/proc/self/attr/current", "docker-default"),
        "confinement", "note", "docker-default", "aa-complain"),
    "a short backlog": (lambda m: m.put("/proc/sys/net/core/somaxconn", "128"), "backlog", "note", "128", "somaxconn=4096"),
    "swap": (lambda m: m.put("/proc/swaps", "Filename\n/dev/sda2 partition 1 0 -2"), "swap", "note", "", "swapoff"),
    "no IOMMU": (
        lambda m: m.drop("/sys/kernel/iommu_groups/0/type") and os.rmdir(m.root + "/sys/kernel/iommu_groups/0"),
        "iommu", "warn", "", "intel_iommu=on"),
    "no VFIO": (lambda m: m.drop("/dev/vfio/vfio"), "vfio", "warn", "", "modprobe vfio-pci"),
    "no tun": (lambda m: m.drop("/dev/net/tun"), "tap", "note", "", "modprobe tun"),
    "a card with the kernel": (
        lambda m: m.card("0000:04:00.0", "0x8086", "ice", "eth1"),
        "port", "note", "interface eth1", "dpdk-devbind.py --bind=vfio-pci 0000:04:00.0"),
    "the card with the default route": (
        lambda m: m.card("0000:04:00.0", "0x8086", "ice", "eth1").put("/proc/net/route", "Iface\neth1\t00000000\t01004D0A\t0003"),
        "port", "note", "default route", "af_xdp:eth1"),
    "an ENA": (lambda m: m.card("0000:00:05.0", "0x1d0f", "ena"), "port-quirk", "warn", "write combining", "enav2"),
    "a gVNIC": (lambda m: m.card("0000:00:05.0", "0x1ae0", "gve"), "port-quirk", "warn", "copies", "transport=kernel"),
    "a virtio card": (lambda m: m.card("0000:00:05.0", "0x1af4", "virtio-pci"), "port-quirk", "note", "RSS"),
    "a MANA": (lambda m: m.card("0000:00:05.0", "0x1414", "mana"), "port-quirk", "warn", "not vfio-pci", "rdma-core"),
    "a card that is no network card": (
        lambda m: m.card("0000:03:00.0", "0x8086", "nvme", kind="0x010802"), "port", "note", "no network card"),
    "a disk with a scheduler": (
        lambda m: m.put(m.queue + "scheduler", "none [bfq]"), "disk-scheduler", "note", "bfq", "echo none"),
    "a write-back cache": (lambda m: m.put(m.queue + "write_cache", "write back"), "disk-cache", "note", "flush"),
    "a disk that rotates": (lambda m: m.put(m.queue + "rotational", "1"), "disk", "note", "rotates", "solid-state"),
    "another filesystem": (
        lambda m: m.put("/proc/self/mountinfo", f"22 1 {m.dev} / / rw - nfs4 host:/x rw"), "filesystem", "warn", "nfs4", "ext4"),
    "no data directory": (lambda m: os.rmdir(m.data), "disk", "fail", "No such file", "mkdir"),
}


def main(t):
    with t.check("a good machine: every verdict is ok"):
        code, found = Machine(t, "good").look()
        bad = [f for fs in found.values() for f in fs if f["verdict"] != "ok"]
        assert code == 0 and not bad, bad
        assert len(found) >= 14, sorted(found)
    for i, (what, (spoil, check, verdict, text, *repair)) in enumerate(SPOILT.items()):
        with t.check(f"{what}: {verdict} of {check}"):
            m = Machine(t, f"m{i}")
            spoil(m)
            code, found = m.look()
            has(found, check, verdict, text, *repair)
            assert code == (verdict == "fail")
            others = [f for c, fs in found.items() for f in fs if f["verdict"] in ("warn", "fail") and c != check]
            assert not others, others
    with t.check("this machine: text for people, with the same verdicts"):
        args = [MILLCTL, "doctor", "--data", t.dir]
        text = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
        findings = json.loads(subprocess.run(args + ["--json"], capture_output=True, text=True, timeout=60,
                                             check=False).stdout)["findings"]
        for f in findings:
            assert f["verdict"] in text.stdout and f["what"] in text.stdout, f
        assert f"{sum(f['verdict'] == 'ok' for f in findings)} ok, " in text.stdout
    with t.check("a wrong command line is refused"):
        for args in (["--nonsense"], ["extra"], ["--data"]):
            p = subprocess.run([MILLCTL, "doctor", *args], capture_output=True, text=True, timeout=60, check=False)
            assert p.returncode == 2 and "usage" in p.stderr, args


if __name__ == "__main__":
    checks.run(main)
