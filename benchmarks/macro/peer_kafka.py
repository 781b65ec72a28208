# SPDX-License-Identifier: Apache-2.0
"""Apache Kafka, of its Maven artefacts, as a peer to measure against: one node that is its own controller."""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import broker  # noqa: E402
import checks  # noqa: E402
import matrix  # noqa: E402
import wire  # noqa: E402

VERSION = "4.3.1"
LIMIT_S = 120

# One broker, the sizes of threads for few cores; nothing that only several brokers need.
SETTINGS = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=2
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
# What makes an acknowledgement mean the same as ours: everything is flushed before it.
DURABLE = "log.flush.interval.messages=1\n"


class Kafka:
    """durable=False: as it comes, acknowledged from the page cache. Heap: bytes for -Xmx, such as 2g."""

    def __init__(self, t, name="kafka", durable=True, settings="", heap="2g"):
        self.name = name
        lib = os.path.join(os.path.dirname(self.jars()), "lib")
        self.java = ["/usr/bin/java", f"-Xms{heap}", f"-Xmx{heap}", "-XX:+AlwaysPreTouch", "-server", "-XX:+UseG1GC",
                     "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true",
                     "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{lib}/*"]
        self.address = f"127.0.0.1:{broker.free_port()}"
        self.log = os.path.join(t.dir, name + ".out")
        self.settings = os.path.join(t.dir, name + ".properties")
        with open(self.settings, "w", encoding="ascii") as f:
            f.write(SETTINGS.format(address=self.address, controller=broker.free_port(),
                                    data=os.path.join(t.dir, name + "-data")))
            f.write((DURABLE if durable else "") + settings)
        self.process = None
        t.undo.callback(self.stop)
        t.logs.append(self.log)

    @staticmethod
    def jars():
        """A file beside the folder `lib` with all jars; got from Maven's repository once."""
        source = os.path.join(matrix.ADAPTERS, "java_tools")
        matrix.java_program("java-tools", source, VERSION)
        return os.path.join(TOP, "build", "clients", "java-tools", "adapter.jar")

    def tool(self, *args):
        with open(self.log, "ab") as log:
            return subprocess.run(self.java[:1] + ["-Xmx256m"] + self.java[-2:] + list(args), check=True, timeout=LIMIT_S,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log).stdout.decode()

    def start(self):
        identity = self.tool("kafka.tools.StorageTool", "random-uuid").strip()
        self.tool("kafka.tools.StorageTool", "format", "-t", identity, "-c", self.settings)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.java + ["kafka.Kafka", self.settings], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        checks.wait_until("Kafka answers", self.answers, LIMIT_S, 0.1)
        return self

    def answers(self):
        assert self.process.poll() is None, f"Kafka has ended; see {self.log}"
        try:
            with wire.Connection(self.address) as c:
                c.metadata([])
            return True
        except (OSError, AssertionError):
            return False

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
