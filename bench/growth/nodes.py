"""Nodes to be measured: a local cluster in a temporary folder, and what can be read off it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import floodmark
import psutil

from bench.accounting import Usage, usage
from bench.growth.load import Target
from bench.processes import Failed
from local.cluster import LocalCluster

_ASK_AGAIN_S = 0.1
_LED_TIMEOUT_S = 90.0
_COUNTERS = {
    "floodmark_log_flush_seconds_count": "flushes",
    "floodmark_peer_bytes_sent_total": "link_bytes",
    "floodmark_node_leaderships": "leaderships",
    "floodmark_node_log_bytes": "log_bytes",
}


class Nodes:
    """Node processes n1, n2, ..."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.urls = [node.url for node in cluster.nodes.values()]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.urls)

    @property
    def processes(self) -> list[psutil.Process]:
        """Those that run."""
        return [psutil.Process(child.process.pid) for child in self._cluster.children.values()]

    async def topic(self, name: str, *, partitions: int, replication: int) -> list[Target]:
        """Make a topic; where its partitions are led."""
        await self.create(name, partitions=partitions, replication=replication)
        return await self.targets([name])

    async def create(self, topic: str, *, partitions: int, replication: int) -> float:
        """Make a topic and wait until its partitions can be written to; the seconds that this takes."""
        begin = time.perf_counter()
        before = (await self.counters())["leaderships"]
        async with floodmark.Client(
            self.urls, timeout_s=_LED_TIMEOUT_S, request_timeout_s=_LED_TIMEOUT_S
        ) as client:
            await client.topics.create(topic, partitions=partitions, replication_factor=replication)
            deadline = time.monotonic() + _LED_TIMEOUT_S
            while (await self.counters())["leaderships"] < before + partitions:
                if time.monotonic() > deadline:
                    raise Failed(f"not all of {partitions} partitions have leaders")
                await asyncio.sleep(_ASK_AGAIN_S)
        return time.perf_counter() - begin

    async def targets(self, topics: Collection[str]) -> list[Target]:
        """Where the partitions of these topics are led now."""
        async with floodmark.Client(self.urls) as client:
            ports = {node.node_id: urlsplit(node.http).port or 0 for node in await client.nodes()}
            return [
                Target(ports[str(each.leader)], topic, each.partition)
                for topic in topics
                for each in (await client.topics.describe(topic)).partitions
            ]

    async def records(self, topic: str) -> int:
        """How many the topic's partitions have together."""
        async with floodmark.Client(self.urls) as client:
            return sum(each.high_watermark or 0 for each in (await client.topics.describe(topic)).partitions)

    async def counters(self) -> dict[str, float]:
        """Sums over the nodes, of what they have counted since they started."""
        found = dict.fromkeys(_COUNTERS.values(), 0.0)
        async with aiohttp.ClientSession() as session:
            for url in self.urls:
                async with session.get(f"{url}/metrics") as answer:
                    text = await answer.text()
                for line in text.splitlines():
                    name = line.partition(" ")[0].partition("{")[0]
                    if name in _COUNTERS:
                        found[_COUNTERS[name]] += float(line.rpartition(" ")[2])
        return found

    def usage(self) -> Usage:
        """Processor time and bytes written of all of them."""
        return usage(process.pid for process in self.processes)

    def cpu_s(self) -> list[float]:
        """Processor time of each."""
        return [usage([process.pid]).cpu_s for process in self.processes]

    def scheduled_s(self) -> float:
        """Processor time of all of them, to the nanosecond: ``cpu_s`` counts hundredths of a second."""
        ran = 0
        for process in self.processes:
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError):  # a thread may end meanwhile
                    ran += int((task / "schedstat").read_text().split()[0])
        return ran / 1e9

    def rss_bytes(self) -> int:
        """Resident memory of the largest."""
        return max(process.memory_info().rss for process in self.processes)

    def descriptors(self) -> int:
        """Open files of the one that has most."""
        return max(process.num_fds() for process in self.processes)

    async def stop(self) -> None:
        """In order, all of them."""
        await self._cluster.stop()

    async def start(self) -> float:
        """All of them again, until they are ready; the seconds that this takes."""
        begin = time.perf_counter()
        await self._cluster.start()
        await self._cluster.ready()
        return time.perf_counter() - begin

    def files(self) -> list[Path]:
        """All that they have stored."""
        return [
            path
            for name in self._cluster.nodes
            for path in self._cluster.data_dir(name).rglob("*")
            if path.is_file()
        ]


@contextlib.asynccontextmanager
async def started(count: int, *, within: Path | None = None) -> AsyncIterator[Nodes]:
    """``count`` new nodes on free ports; they and their data are always removed at the end."""
    with tempfile.TemporaryDirectory(prefix="floodmark-growth-", dir=within) as folder:
        cluster = LocalCluster(Path(folder), count)
        try:
            nodes = Nodes(cluster)
            await nodes.start()
            yield nodes
        finally:
            # Orderly stops would only cost seconds: the data is removed with the nodes.
            await asyncio.shield(cluster.kill(*cluster.children))
            cluster.close()
