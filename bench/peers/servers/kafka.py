"""Three Kafka nodes, each broker and controller (KRaft)."""

from __future__ import annotations

import base64
import shutil
import socket
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.peers.servers.base import NODES, Servers
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from local.ports import LOOPBACK

_JVM = (
    *("-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15"),
    *("-Djava.awt.headless=true", "-Dlog4j2.level=WARN"),
)
"""What Kafka's own start script passes."""
_WARM_UP_S = 15.0
"""Three virtual machines compile while they run: at first a lone record takes 20 ms of processor."""
_CONFIGURATION = (
    "KRaft, three combined brokers and controllers, 1 GB of heap each as its start script gives; one topic "
    "of 3 partitions, `replication.factor=3`, `min.insync.replicas=2`; "
)
_CLIENT = (
    "`confluent-kafka` (librdkafka): `acks=all`, idempotent, `linger.ms=0` for waiting callers and at the "
    "fixed rate; batched: `linger.ms=20`, `batch.size=200000`, uncompressed as everywhere; reading: "
    "`consume(10000)`. A delivery callback starts its caller's next record: cheaper than its asyncio client"
)


def properties(
    number: int,
    *,
    folder: Path,
    ports: list[int],
    controller_ports: list[int],
    further: Mapping[str, str] | None = None,
) -> str:
    """The ``server.properties`` of one node."""
    voters = ",".join(f"{each + 1}@{LOOPBACK}:{port}" for each, port in enumerate(controller_ports))
    lines = {
        "process.roles": "broker,controller",
        "node.id": number + 1,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports[number]},CONTROLLER://{LOOPBACK}:{controller_ports[number]}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports[number]}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": folder,
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "auto.create.topics.enable": "false",
        **(further or {}),
    }
    return "".join(f"{name}={text}\n" for name, text in lines.items())


class Kafka(Servers):
    """Kafka replicates before it acknowledges, and leaves the disk to the operating system."""

    record_files: ClassVar[str] = "/t-"  # Its controllers sync a log of their own, records or not.

    variants: ClassVar[tuple[Variant, ...]] = (
        Variant(
            name="kafka-flush",
            system="kafka",
            label="Kafka, flush.messages=1",
            is_synced=True,
            acknowledged="written and synced (fsync) by all brokers in sync, at least two of three",
            configuration=_CONFIGURATION + "`flush.messages=1` on the topic",
            client=_CLIENT,
            warm_up_s=_WARM_UP_S,
            options={"flush.messages": "1"},
        ),
        Variant(
            name="kafka-default",
            system="kafka",
            label="Kafka",
            is_synced=False,
            acknowledged="in the page cache of all brokers in sync, at least two of three",
            configuration=_CONFIGURATION + "flushing as it comes (left to the operating system)",
            client=_CLIENT,
            warm_up_s=_WARM_UP_S,
        ),
    )

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """Its jars come from Maven's repository."""
        return tools.missing_clients or tools.missing_kafka()

    def start(self) -> None:
        """Format the folders, then one process per node."""
        java = [shutil.which("java") or "java", *_JVM, "-cp", f"{self.tools.kafka_jars}/*"]
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        taken = self.ports(2 * NODES)
        ports, controllers = taken[:NODES], taken[NODES:]
        for number in range(NODES):
            path = self.folder / f"n{number + 1}.properties"
            folder = self.node_folder(number)
            text = properties(
                number,
                folder=folder,
                ports=ports,
                controller_ports=controllers,
                further=self.variant.server_options,
            )
            path.write_text(text)
            formatting = [
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",  # it may begin with a dash
                "--config",
                str(path),
            ]
            processes.run([*java, *formatting], seconds=60, cwd=self.folder)
            self.run(f"n{number + 1}", [*java, "kafka.Kafka", str(path)])
        self.addresses = [f"{LOOPBACK}:{port}" for port in ports]
        self.wait_each([partial(_listens, port) for port in ports], "a broker's start")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
