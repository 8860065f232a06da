"""What committed offsets cost: ``python -m bench.groups [--groups 10000] [--partitions 100] [--nodes 3]``.

Nodes of one cluster in this process, so that what they need of memory together is divided by their number.
Every group commits offsets of so many partitions; then the shards rest until their states are in files. Then
one caller commits an offset of one partition at a time at one node, and many callers at once at all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import tempfile
import time
from pathlib import Path

from floodmark.errors import OutcomeUnknown, Unavailable

from bench.document import replace_part
from bench.machine import Machine, measure, percentile
from bench.paths import DOCUMENT
from node.http.context import CONTEXT
from node.service.group_offsets import CommitOffsets, OffsetOf
from node.service.request_context import RequestContext
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "orders"
FILLERS = 8
CALLERS = 64
SECONDS = 10.0
MIB = 1 << 20


class Bench:
    """One cluster, its groups, and what was measured. ``rows``: what was measured, and in words."""

    def __init__(self, cluster: NodeCluster, groups: int, partitions: int) -> None:
        self._cluster = cluster
        self._groups = groups
        self._partitions = partitions
        self.rows: list[tuple[str, str]] = []

    async def run(self) -> None:
        """All of it, in order."""
        cluster, count = self._cluster, self._groups * self._partitions
        await cluster.create(TOPIC, partitions=self._partitions)
        await self._commit(cluster.up[0], "first", [0], 1)
        before = _rss()
        began = time.perf_counter()
        await self._fill()
        self._row("offsets committed", f"{count:,} in {self._groups:,} groups")
        self._row("to fill, 100 offsets a request", f"{time.perf_counter() - began:.0f} s")
        gc.collect()
        grown = (_rss() - before) / len(cluster.nodes)
        machines = [each.machine for each in cluster.up[0].running.coordinator.shards.here]
        stored = sum(machine.size for machine in machines)
        self._row("memory, each node", f"{grown / MIB:.0f} MiB, {grown / count:.0f} bytes an offset")
        self._row("keys and values alone", f"{stored / MIB:.0f} MiB, {stored / count:.0f} bytes an offset")
        await self._at_rest()
        self._row("state files, each node", f"{self._files('*.state') / MIB:.0f} MiB")
        self._row("logs of the shards, each node", f"{self._files('*.log') / MIB:.0f} MiB")
        await self._latencies("one caller", callers=1)
        await self._latencies(f"{CALLERS} callers", callers=CALLERS)

    async def _fill(self) -> None:
        names = iter(range(self._groups))
        numbers = list(range(self._partitions))

        async def some(node: TestNode) -> None:
            for name in names:
                for begin in range(0, len(numbers), 100):
                    await self._commit(node, f"group-{name}", numbers[begin : begin + 100], 1)

        async with asyncio.TaskGroup() as tasks:
            for number in range(FILLERS):
                tasks.create_task(some(self._cluster.up[number % len(self._cluster.up)]))

    async def _at_rest(self) -> None:
        """Every state is in a file that covers all but a little."""
        replicas = [
            shard.replica for node in self._cluster.up for shard in node.running.coordinator.shards.here
        ]
        await self._cluster.until(
            lambda: all(
                not each.group.storage.checkpoint_is_due(rests=True, bytes_max=0) for each in replicas
            ),
            "all states are in files",
            deadline_s=600,
        )

    async def _latencies(self, who: str, *, callers: int) -> None:
        nodes = self._cluster.up
        took: list[float] = []
        ends = time.perf_counter() + SECONDS
        tallies = [node.running.coordinator.tally for node in nodes]
        frames, changes = sum(each.frames for each in tallies), sum(each.entries for each in tallies)

        async def call(number: int) -> None:
            rng = random.Random(number)
            offset = 2
            while time.perf_counter() < ends:
                group, partition = rng.randrange(self._groups), rng.randrange(self._partitions)
                began = time.perf_counter()
                await self._commit(nodes[number % len(nodes)], f"group-{group}", [partition], offset)
                took.append(time.perf_counter() - began)
                offset += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(call(number))
        frames = sum(each.frames for each in tallies) - frames
        changes = sum(each.entries for each in tallies) - changes
        self._row(
            f"commits of one offset, {who}",
            f"{len(took) / SECONDS:.0f}/s, p50 {percentile(took, 0.5) * 1e3:.1f} ms, "
            f"p99 {percentile(took, 0.99) * 1e3:.1f} ms, {changes / max(1, frames):.1f} in a frame",
        )

    async def _commit(self, node: TestNode, group: str, numbers: list[int], offset: int) -> None:
        request = CommitOffsets(group=group, offsets=[OffsetOf(TOPIC, number, offset) for number in numbers])
        service = node.running.app[CONTEXT].service
        while True:
            try:
                await service.ask(RequestContext(protocol="bench").within(60), request)
            except (OutcomeUnknown, Unavailable):  # A leader has changed: the machine is too busy.
                await asyncio.sleep(0.1)
            else:
                return

    def _files(self, pattern: str) -> float:
        node = self._cluster.up[0]
        found = 0
        for shard in node.running.coordinator.shards.here:
            folder = node.data_dir / "groups" / str(shard.replica.group.raft_group)
            found += sum(path.stat().st_blocks * 512 for path in folder.glob(pattern))
        return found

    def _row(self, what: str, value: str) -> None:
        self.rows.append((what, value))
        print(f"{what}: {value}", flush=True)


def _rss() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def table(rows: list[tuple[str, str]], machine: Machine, load: float, nodes: int) -> str:
    """As it stands in the document."""
    lines = "\n".join(f"| {what} | {value} |" for what, value in rows)
    note = f"- Note: the machine was not quiet: {load:.1f} processes wanted to run before this began.\n"
    said = f"- M{str(machine)[1:]}; {nodes} nodes in one process.\n{note if load > 0.5 else ''}"
    return f"{said}\n| | |\n| --- | --- |\n{lines}"


async def main(groups: int, partitions: int, nodes: int, *, document: bool) -> None:
    """Measure, print, and put it into the document when asked to."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as name:
        load = os.getloadavg()[0]
        machine = measure(Path(name))
        print(machine, flush=True)
        async with NodeCluster.running(Path(name), nodes) as cluster:
            bench = Bench(cluster, groups, partitions)
            await bench.run()
    found = table(bench.rows, machine, load, nodes)
    print(found)
    if document:
        DOCUMENT.write_text(replace_part(DOCUMENT.read_text(), "groups", found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--partitions", type=int, default=100, help="of which each group commits offsets")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--document", action="store_true", help="put the table into docs/PERFORMANCE.md")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.groups, arguments.partitions, arguments.nodes, document=arguments.document))
