#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/capture: the frames of a dpdk port as a pcapng file that other programs read."""
import http.client
import os
import re
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import wire  # noqa: E402

IN, OUT = 1, 2


class Capture(threading.Thread):
    """Asks for a capture and reads it to its end."""

    def __init__(self, broker, query):
        super().__init__()
        self.status, self.file, self.failure = None, b"", None
        host, port = broker.admin.rsplit(":", 1)
        with broker.space.entered():
            self.conn = http.client.HTTPConnection(host, int(port), timeout=60)
            self.conn.request("GET", "/capture" + query)
            self.response = self.conn.getresponse()  # the shards have, or will have, the order
        self.start()

    def run(self):
        try:
            self.status = self.response.status
            self.file = self.response.read()
        except (OSError, http.client.HTTPException) as e:
            self.failure = e

    def wait(self):
        self.join(90)
        assert not self.is_alive(), "the capture does not end"
        assert self.failure is None and self.status == 200, f"{self.status} {self.failure} {self.file[:200]}"
        return self.file


def blocks(data):
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and size >= 12 and struct.unpack_from("<I", data, at + size - 4)[0] == size, "broken block"
        yield kind, data[at + 8:at + size - 4]
        at += size
    assert at == len(data)


class File:
    """Read by hand: what tcpdump does not tell."""

    def __init__(self, data):
        all_blocks = list(blocks(data))
        assert [k for k, _ in all_blocks[:2]] == [0x0A0D0D0A, 1] and all_blocks[-1][0] == 5
        self.frames = []
        for kind, b in all_blocks[2:-1]:
            assert kind == 6
            _, high, low, kept, size = struct.unpack_from("<IIIII", b)
            pad = (kept + 3) // 4 * 4
            code, length, flags = struct.unpack_from("<HHI", b, 20 + pad)
            assert (code, length) == (2, 4)
            self.frames.append((high << 32 | low, flags, size, b[20:20 + kept]))
        self.lost = struct.unpack_from("<Q", all_blocks[-1][1], 12 + 12 + 4)[0]


def tcpdump(t, data):
    """A line for each packet."""
    path = os.path.join(t.dir, "x.pcapng")
    with open(path, "wb") as f:
        f.write(data)
    r = subprocess.run(["tcpdump", "-nttvv", "-r", path], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr
    return r.stdout


def produce(address, count, text=b"needle", size=6):
    with wire.Connection(address) as c:
        c.create_topic("t", 1)
        for _ in range(count):
            error, _ = c.produce("t", 0, wire.batch([text * (size // len(text))]))
            assert error == 0
        return c.s.getsockname()[1]


def look(t, transport):
    broker = transport.broker
    with transport.client_side():
        with t.check("a capture holds a conversation, both ways, and another program reads it"):
            c = Capture(broker, "?seconds=3")
            ports = [produce(broker.address, 20) for _ in range(6)]
            data = c.wait()
            got = File(data)
            assert got.lost == 0 and {f[1] for f in got.frames} == {IN, OUT}
            assert sum(b"needle" in f[3] for f in got.frames) >= 120
            text = tcpdump(t, data)
            for port in ports:
                flags = re.findall(rf"\.(?:{port}|9092) > 10\.77\.0\.\d\.(?:{port}|9092): Flags \[([^\]]*)\]", text)
                for want in ("S", "S.", "P."):
                    assert want in flags, f"port {port}: no {want} in {flags}"
            assert "incorrect" not in text and "bad cksum" not in text, "a checksum of a frame is wrong"
        with t.check("both shards' frames are in it, in order of time"):
            assert len({f[3][34:38] for f in got.frames if f[3][12:14] == b"\x08\x00"}) >= 6
            times = [f[0] for f in got.frames]
            late = sum(b < a for a, b in zip(times, times[1:]))
            assert late < len(times) / 10, f"{late} of {len(times)} frames are earlier than the one before"
        with t.check("it ends after so many packets, and keeps so many bytes of each"):
            c = Capture(broker, "?packets=50&snaplen=60")
            produce(broker.address, 40)
            got = File(c.wait())
            assert len(got.frames) == 50 and max(len(f[3]) for f in got.frames) == 60
            assert max(f[2] for f in got.frames) > 60
        with t.check("it ends after so many bytes"):
            c = Capture(broker, "?bytes=20000")
            produce(broker.address, 40, size=6000)
            assert 10000 < len(c.wait()) < 20500
        with t.check("only one peer's packets are in it when that is asked for"):
            c = Capture(broker, "?seconds=2&peer=10.77.0.99")
            transport.space.ip("addr", "add", "10.77.0.99/24", "dev", "mrtap")
            with socket.create_connection(("10.77.0.2", 9092), 10, source_address=("10.77.0.99", 0)):
                produce(broker.address, 5)
            got = File(c.wait())
            want = socket.inet_aton("10.77.0.99")
            assert got.frames and all(want in (f[3][26:30], f[3][30:34], f[3][28:32], f[3][38:42]) for f in got.frames)
        with t.check("one capture at a time; one whose client leaves makes room"):
            c = Capture(broker, "?seconds=600")
            status, _ = broker.http("/capture")
            assert status == 409, status
            c.conn.sock.shutdown(socket.SHUT_RDWR)
            c.join(30)
            checks.wait_until("room for another", lambda: broker.http("/capture?packets=1&seconds=1")[0] == 200)
        with t.check("a question that makes no sense is refused"):
            for q in ("seconds=0", "seconds=601", "packets=x", "bytes=0", "snaplen=65536", "peer=home"):
                status, _ = broker.http("/capture?" + q)
                assert status == 400, f"{q}: {status}"
        with t.check("the broker stops in order while a capture runs"):
            c = Capture(broker, "?seconds=600")
            produce(broker.address, 5)
            code, _ = broker.stop()
            assert code == 0
            c.join(30)


def main(t):
    look(t, netns.Tap(t, sets={"shards": "2"}).start())
    kernel = netns.Kernel(t, name="broker-kernel").start()
    with t.check("the kernel transport says that tcpdump sees its packets"):
        status, body = kernel.broker.http("/capture")
        assert status == 501 and "tcpdump" in body, (status, body)


if __name__ == "__main__":
    checks.run(main)
