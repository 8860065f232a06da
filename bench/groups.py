"""What committed offsets cost: ``python -m bench.groups [--groups 10000] [--partitions 100] [--nodes 3]``.

First the states alone, as each node with a replica of every shard holds them: so many groups commit offsets
of so many partitions, decided and applied as a leader does it, without a log. What that takes of memory, and
what files of it have. Then commits on a cluster of nodes in this process, of single offsets of random groups
and partitions: by one caller at one node, and by many at all of them, without HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

from floodmark.errors import OutcomeUnknown, Unavailable
from floodmark.format.frame import Frame, FrameKind, crc_of

from bench.document import write_parts
from bench.machine import Machine, measure, percentile
from consensus.core.keyed_state import command
from node.coordinator.groups import offsets
from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import Commit, Position
from node.coordinator.machine import CoordinatorMachine
from node.http.context import CONTEXT
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.service.group_offsets import CommitOffsets, OffsetOf
from node.service.request_context import RequestContext
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "orders"
CALLERS = 64
SECONDS = 10.0
MIB = 1 << 20


class Topics:
    """One with so many partitions."""

    def __init__(self, count: int) -> None:
        self._count = count

    def id_of(self, name: str) -> int | None:
        return 1 if name == TOPIC else None

    def partitions(self, topic_id: int) -> int:
        return self._count if topic_id == 1 else 0

    def names(self) -> list[str]:
        return [TOPIC]


class States:
    """All shards of one node."""

    def __init__(self, partitions: int) -> None:
        self.machines = [CoordinatorMachine() for _ in range(SHARDS)]
        self._partitions = partitions
        self._topics = Topics(partitions)
        self._index = 1

    def commit(self, group: str) -> None:
        """Offsets of all partitions, a hundred at a time."""
        machine = self.machines[shard_of(group, SHARDS)]
        for begin in range(0, self._partitions, 100):
            numbers = range(begin, min(begin + 100, self._partitions))
            view = Group.of(group, machine.get, partial(machine.keys_of, group))
            wanted = Commit(positions={(1, number): Position(self._index + number) for number in numbers})
            decision = offsets.commit(view, wanted, topics=self._topics, now_ms=1_800_000_000_000)
            payload = command(decision.pairs)
            self._index += 1
            machine.apply(Frame(self._index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))

    def file_bytes(self) -> int:
        """Of all states as files."""
        found = 0
        for machine in self.machines:
            view = machine.freeze()
            found += sum(len(block) for block in view.blocks())
            view.close()
        return found


class Bench:
    """``rows``: what was measured, and in words."""

    def __init__(self, groups: int, partitions: int) -> None:
        self._groups = groups
        self._partitions = partitions
        self.rows: list[tuple[str, str]] = []

    def states(self) -> None:
        """What they take of memory, and as files."""
        count = self._groups * self._partitions
        gc.collect()
        before, began = _rss(), time.process_time()
        states = States(self._partitions)
        for number in range(self._groups):
            states.commit(f"group-{number}")
        took = time.process_time() - began
        gc.collect()
        grown = _rss() - before
        stored = sum(machine.size for machine in states.machines)
        self._row("offsets committed", f"{count:,} in {self._groups:,} groups")
        self._row("to decide and apply, 100 at a time", f"{took / count * 1e6:.1f} us of processor an offset")
        self._row("memory, each node", f"{grown / MIB:.0f} MiB, {grown / count:.0f} bytes an offset")
        self._row("keys and values alone", f"{stored / MIB:.0f} MiB, {stored / count:.0f} bytes an offset")
        began = time.process_time()
        files = states.file_bytes()
        took = time.process_time() - began
        self._row("state files, each node", f"{files / MIB:.0f} MiB, {took:.1f} s of processor to make")

    async def commits(self, cluster: NodeCluster) -> None:
        """How long they take."""
        self._cluster = cluster
        await cluster.create(TOPIC, partitions=self._partitions)
        await self._commit(cluster.up[0], "first", [0], 1)
        await self._latencies("one caller", callers=1)
        await self._latencies(f"{CALLERS} callers", callers=CALLERS)

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
        bench = Bench(groups, partitions)
        bench.states()
        async with NodeCluster.running(Path(name), nodes) as cluster:
            await bench.commits(cluster)
    found = table(bench.rows, machine, load, nodes)
    print(found)
    if document:
        write_parts({"groups": found})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--partitions", type=int, default=100, help="of which each group commits offsets")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--document", action="store_true", help="put the table into docs/PERFORMANCE.md")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.groups, arguments.partitions, arguments.nodes, document=arguments.document))
