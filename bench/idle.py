"""What many partitions cost: ``python -m bench.idle [partitions]``, about two minutes.

Three node processes each hold a replica of all partitions of one topic, without any writes. It prints the
processor time of the three processes together, in percent of one core, once all is quiet; how long all nodes
need to stop, and to be ready after that; and how long it takes to elect leaders for a killed node's
partitions. All nodes share this machine's cores.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import floodmark

from bench.machine import measure
from local.children import Child, start_child
from local.folder import LocalFolder, LocalNode
from local.readiness import wait_ready

QUIET_S = 30.0
SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


class Nodes:
    """Three node processes."""

    def __init__(self, folder: Path) -> None:
        self._port = random.randrange(20_000, 31_000)
        self._folder = LocalFolder(folder)
        self.nodes = self._folder.write_settings(3, http_port=self._port, peer_port=self._port + 1_000)
        self.children: dict[str, Child] = {}

    def add(self, name: str) -> LocalNode:
        """A further node, which joins the others once it is started."""
        port = self._port + len(self.nodes)
        node = self._folder.further(name, self.nodes, http_port=port, peer_port=port + 1_000)
        self._folder.write_newcomer(node, self.nodes)
        self.nodes.append(node)
        return node

    async def start(self, nodes: list[LocalNode]) -> float:
        """Start some and wait until they are ready; for how long."""
        began = time.perf_counter()
        for node in nodes:
            self.children[node.name] = await start_child(node.name, config=node.config, log=node.log)
        await wait_ready(nodes)
        return time.perf_counter() - began

    async def stop(self) -> list[tuple[int | None, float]]:
        """SIGTERM to all; exit code and seconds of each."""
        began = time.perf_counter()
        for child in self.children.values():
            child.process.send_signal(signal.SIGTERM)

        async def ended(child: Child) -> tuple[int | None, float]:
            return await child.process.wait(), time.perf_counter() - began

        children, self.children = self.children, {}
        return list(await asyncio.gather(*map(ended, children.values())))

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        child = self.children.pop(name)
        child.process.kill()
        await child.process.wait()

    async def metric(self, name: str, *, without: str = "") -> float:
        """The sum of one figure, whatever its labels, over all nodes that run, perhaps but one."""
        running = [node for node in self.nodes if node.name in self.children and node.name != without]
        return sum([await self.metric_of(node, name) for node in running])

    async def metric_of(self, node: LocalNode, name: str) -> float:
        """One figure of one node."""
        async with aiohttp.ClientSession() as session, session.get(f"{node.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(maxsplit=1)[1]) for line in found)

    async def make(self, topic: str, partitions: int) -> float:
        """A topic with a replica of each partition on each node; for how long, until all have leaders."""
        began = time.perf_counter()
        urls = [node.url for node in self.nodes]
        async with floodmark.Client(urls, timeout_s=120, request_timeout_s=120) as client:
            await client.topics.create(topic, partitions=partitions, replication_factor=3)
        await self.wait_led(partitions)
        return time.perf_counter() - began

    async def wait_led(self, partitions: int) -> float:
        """Until so many partitions have leaders that can serve; for how long."""
        began = time.perf_counter()
        while await self.metric("floodmark_node_leaderships") < partitions:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return time.perf_counter() - began

    def processor_s(self) -> float:
        """Of all that run, since they started."""
        total = 0
        for child in self.children.values():
            fields = Path(f"/proc/{child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS


async def main(partitions: int) -> None:
    """All measurements."""
    print(measure())
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as folder:
        nodes = Nodes(Path(folder))
        try:
            await _run(nodes, partitions)
        finally:
            for name in list(nodes.children):
                await nodes.kill(name)


async def _run(nodes: Nodes, partitions: int) -> None:
    changes = "floodmark_leader_changes_total"
    await nodes.start(nodes.nodes)
    async with floodmark.Client([node.url for node in nodes.nodes]) as client:
        await client.topics.create("many", partitions=partitions, replication_factor=3)
    print(f"{partitions} partitions have leaders {await nodes.wait_led(partitions):.1f} s after their making")
    _say_stopped("right after that", await nodes.stop())
    print(f"restart of all: ready after {await nodes.start(nodes.nodes):.1f} s", flush=True)
    elections = await nodes.metric(changes) / 3 / (partitions + 1)
    print(f"elections per partition: {elections:.2f}")
    await asyncio.sleep(QUIET_S)
    before, began = nodes.processor_s(), time.perf_counter()
    await asyncio.sleep(SECONDS)
    share = (nodes.processor_s() - before) / (time.perf_counter() - began)
    print(f"idle: {share * 100:.1f}% of one core for all three nodes together", flush=True)
    gone = nodes.nodes[-1]
    before = await nodes.metric(changes, without=gone.name)
    await nodes.kill(gone.name)
    print(f"one node killed: all partitions have leaders after {await nodes.wait_led(partitions):.1f} s")
    per_partition = (await nodes.metric(changes) - before) / 2 / (partitions / 3)
    print(f"leader changes per partition of that node: at most {per_partition:.2f}")
    print(f"that node is ready again after {await nodes.start([gone]):.1f} s", flush=True)
    _say_stopped("while leaderships return", await nodes.stop())


def _say_stopped(when: str, ended: list[tuple[int | None, float]]) -> None:
    codes = [code for code, _ in ended]
    print(f"stop of all {when}: {max(seconds for _, seconds in ended):.1f} s, exits {codes}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
