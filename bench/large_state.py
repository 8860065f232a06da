"""What a large state costs its own group and the others: ``python -m bench.large_state [--megabytes 200]``.

Three processes, each with a replica of a group whose machine has a state of 200 MB in files, and of one
without any state. One caller writes one small entry of 900 bytes at a time to each of the two groups, first
while nothing else happens, then while each process in turn writes a new state file, then while a follower
that has lost its folder is sent the state. The longest callback is that of the event loop of any process, in
processor time; asyncio's own loop is used, for uvloop's callbacks cannot be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.document import write_parts
from bench.machine import Machine, measure, percentile
from tests.process.large_state import KEYS_PER_WRITE, Ledger
from tests.support.large_cluster import LargeCluster, large_cluster
from tests.support.large_host import LARGE, SMALL

CALLERS = 1
PAUSE_S = 0.002
QUIET_S = 8.0


@dataclass(slots=True)
class Phase:
    """What one phase did, and what the writers saw meanwhile."""

    name: str
    seconds: float
    megabytes: float
    own: list[float]
    other: list[float]
    callback_ms: float
    callback: str
    wall_ms: float


class Bench:
    """All phases over one cluster."""

    def __init__(self, cluster: LargeCluster, megabytes: int) -> None:
        self._cluster = cluster
        self._ledger = Ledger(megabytes * 1_000_000 // (200 * KEYS_PER_WRITE) * KEYS_PER_WRITE)
        self.phases: list[Phase] = []

    async def run(self, folder: Path) -> None:
        """The phases, in order."""
        cluster = self._cluster
        print("filling ...", flush=True)
        await self._ledger.fill(cluster)
        await cluster.level()
        leader = await cluster.leader()
        # One process leads both groups: nothing is elected while this measures, and all meets there.
        holder = await cluster.leader("leads_small")
        if holder != leader:
            await cluster.running[holder].ask("lead", to=leader)
        while await cluster.leader("leads_small") != leader:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        followers = [name for name in cluster.running if name != leader]
        await self._phase("nothing besides", leader, asyncio.sleep(QUIET_S), lambda: 0.0)
        for name in (followers[0], leader):
            who = "the leader" if name == leader else "a follower"
            checkpoint = cluster.running[name].ask("checkpoint")
            await self._phase(f"{who} writes a file", leader, checkpoint, lambda name=name: self._file(name))
        await cluster.running[followers[1]].ask("checkpoint")
        for name in cluster.running:
            await cluster.running[name].ask("truncate_head")
        lost = followers[0]
        await cluster.kill(lost)
        shutil.rmtree(folder / lost)
        await self._phase(
            "a follower is sent the state", leader, self._bring_in(lost, leader), lambda: self._file(lost)
        )

    async def _bring_in(self, name: str, leader: str) -> None:
        await self._cluster.start(name)
        covered = (await self._cluster.status(leader))["covered"]
        while (await self._cluster.status(name))["applied"] < covered:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)

    def _file(self, name: str) -> float:
        return max(path.stat().st_size for path in self._cluster.replica(name).glob("*.state")) / 1e6

    async def _phase(self, name: str, leader: str, work: Any, size: Any) -> None:
        """Do something while both groups are written to."""
        cluster = self._cluster
        for node in cluster.running.values():
            await node.ask("slowest")
        done = asyncio.Event()
        writers = [asyncio.create_task(self._write(leader, group, done)) for group in (LARGE, SMALL)]
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await work
        seconds = time.perf_counter() - began
        done.set()
        own, other = await asyncio.gather(*writers)
        slowest = max(
            [await node.ask("slowest") for node in cluster.running.values()],
            key=lambda found: found["cpu_ms"],
        )
        phase = Phase(
            name, seconds, size(), own, other, slowest["cpu_ms"], slowest["callback"], slowest["wall_ms"]
        )
        self.phases.append(phase)
        print(_line(phase), f"({phase.callback})", flush=True)

    async def _write(self, leader: str, group: int, done: asyncio.Event) -> list[float]:
        took: list[float] = []
        while not done.is_set():
            order = {"group": group, "seconds": 0.25, "callers": CALLERS, "pause_s": PAUSE_S}
            took += (await self._cluster.running[leader].ask("write", **order))["took"]
        return took


_HEAD = (
    "| | seconds | MB | MB/s | longest callback, ms | "
    "same group p50 ms | p99 | max | other group p50 ms | p99 | max |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def _line(phase: Phase) -> str:
    latencies = " | ".join(
        f"{percentile(took, 0.5):.2f} | {percentile(took, 0.99):.2f} | {max(took):.1f}"
        for took in (phase.own, phase.other)
    )
    moved = f"{phase.megabytes:.0f} | {phase.megabytes / phase.seconds:.0f}" if phase.megabytes else "- | -"
    return f"| {phase.name} | {phase.seconds:.1f} | {moved} | {phase.callback_ms:.1f} | {latencies} |"


def table(phases: list[Phase], machine: Machine, load: float) -> str:
    """As it stands in the document; ``load`` is how many processes wanted to run before it began."""
    lines = "\n".join(_line(phase) for phase in phases)
    note = f"- Note: the machine was not quiet: {load:.1f} processes wanted to run before this began.\n"
    return f"- M{str(machine)[1:]}.\n{note if load > 0.5 else ''}\n{_HEAD}\n{lines}"


async def main(megabytes: int, *, document: bool) -> None:
    """Measure, print, and put it into the document when asked to."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as name:
        folder = Path(name)
        load = os.getloadavg()[0]
        machine = measure(folder)
        print(machine, flush=True)
        async with large_cluster(folder, measure=True) as cluster:
            bench = Bench(cluster, megabytes)
            await bench.run(folder)
    found = table(bench.phases, machine, load)
    print(found)
    if document:
        write_parts({"large-state": found})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the state (default 200)")
    parser.add_argument("--document", action="store_true", help="put the table into docs/PERFORMANCE.md")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.megabytes, document=arguments.document))
