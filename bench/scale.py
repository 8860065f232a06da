"""Many partitions on few nodes: ``python -m bench.scale``, about five minutes.

Three node processes hold a replica each of 1,000 partitions. Printed, each beside its goal: how long it takes
to make them; what the nodes use of a core and of memory when nobody writes; what a record costs whose
partition sleeps before and after it (``bench.sparse``); what 100 connections get through that write to all
partitions; how long after a kill -9 of the node that leads most all partitions have leaders
again, and how long that node needs until it is ready; both without load and while 100 clients with default
retries produce to all partitions, with how many of their records failed and how long one took at most; last,
how long it takes to move a replica of 300 partitions, a megabyte each, to a fourth node, beside what throttle
and disk take for the bytes. All nodes and the clients share this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.console import not_quiet, to_stderr
from bench.growth.load import RECORD_MEDIA, Answers, Target, connected, posts, targets_of
from bench.idle import QUIET_S, Nodes
from bench.machine import measure, percentile
from bench.markdown import table
from bench.node_memory import resident
from bench.payload import payload
from bench.rows import Row
from bench.scale_clients import Clients
from bench.scale_moves import fill, join, move
from bench.sparse import cost

TOPIC = "many"
_IDLE_S = 10.0
_RECORD_BYTES = 1024
_SPARSE_RECORDS = 600
_SPARSE_PER_S = 40.0
_LEAD_IN_S = 2.0
"""Load before a node is killed."""


class Scale:
    """The measurements, one after the other, on nodes that run."""

    def __init__(self, nodes: Nodes, partitions: int, connections: int, seconds: float, moves: int) -> None:
        self._nodes = nodes
        self._partitions = partitions
        self._connections = connections
        self._seconds = seconds
        self._moves = moves
        self.rows: list[Row] = []

    async def run(self) -> None:
        """All of them."""
        await self._make()
        self._memory("right after that")
        await self._idle()
        await self._sparse()
        await self._produce()
        self._memory("after that")
        await self._lose_one("")
        await self._lose_one_under_load()
        await self._move()

    def _note(self, what: str, value: float, unit: str, goal: float | None = None) -> None:
        self.rows.append(Row(what, value, unit, goal))
        to_stderr("  ".join(self.rows[-1].cells))

    async def _make(self) -> None:
        made_s = await self._nodes.make(TOPIC, self._partitions)
        self._note("to make them, until all have leaders", made_s, "s", 60)

    def _memory(self, when: str) -> None:
        found = [resident(child.process.pid)[0] for child in self._nodes.children.values()]
        self._note(f"memory of the largest node {when}", max(found), "MB")

    async def _idle(self) -> None:
        await asyncio.sleep(QUIET_S)
        before, began = self._nodes.processor_s(), time.perf_counter()
        await asyncio.sleep(_IDLE_S)
        used = (self._nodes.processor_s() - before) / (time.perf_counter() - began)
        self._note("idle, all nodes together", used * 100, "% of a core", 10)

    async def _sparse(self) -> None:
        for row in await cost(self._nodes, TOPIC, _SPARSE_RECORDS, _SPARSE_PER_S):
            self._note(row.what, row.value, row.unit, row.goal)

    async def _produce(self) -> None:
        targets = await targets_of([node.url for node in self._nodes.nodes], TOPIC)
        before = self._nodes.processor_s()
        answers = await self._load(targets, self._seconds)
        used = self._nodes.processor_s() - before
        what = f"{self._connections} connections, 1 KiB records to all partitions"
        self._note(what, answers.operations / answers.seconds, "requests/s")
        self._note("... refused", answers.refused, "requests", 0)
        for name, fraction in (("p50", 0.5), ("p99", 0.99)):
            self._note(f"... {name}", percentile(answers.latencies_s, fraction) * 1e3, "ms")
        self._note("... processor of all nodes", used / answers.operations * 1e6, "us a request")

    async def _lose_one(self, how: str) -> None:
        """kill -9 of a node, and its next start."""
        await self._nodes.wait_led(self._partitions)
        led = {
            node.name: await self._nodes.metric_of(node, "floodmark_node_leaderships")
            for node in self._nodes.nodes
        }
        gone = max(self._nodes.nodes, key=lambda node: led[node.name])
        self._note(f"kill -9 of a node{how}: partitions that it leads", led[gone.name], "")
        await self._nodes.kill(gone.name)
        led_s = await self._nodes.wait_led(self._partitions)
        self._note("... until all are led again", led_s, "s", 5)
        self._note("... that node again, until ready", await self._nodes.start([gone]), "s", 10)

    async def _lose_one_under_load(self) -> None:
        urls = [node.url for node in self._nodes.nodes]
        clients = Clients(urls, TOPIC, self._partitions, self._connections)
        running, began = asyncio.create_task(clients.run()), time.perf_counter()
        await asyncio.sleep(_LEAD_IN_S)
        await self._lose_one(f", {clients.count} clients producing to all")
        clients.stop.set()
        await running
        rate = clients.acknowledged / (time.perf_counter() - began)
        self._note("... records acknowledged meanwhile", rate, "records/s")
        self._note("... produces that failed", len(clients.failed), "records", 0)
        self._note("... the longest that a record took", clients.longest_s, "s")

    async def _move(self) -> None:
        await fill(self._nodes, TOPIC, self._moves)
        await join(self._nodes)
        await asyncio.sleep(QUIET_S)
        moved = await move(self._nodes, TOPIC, self._moves)
        self._note(f"to move a replica of {moved.count} partitions to a fourth node", moved.seconds, "s")
        self._note("... bytes sent", moved.bytes / 1e6, "MB")
        self._note("... bound of the throttle (limits.catch_up_bytes_per_s)", moved.throttle_s, "s")
        self._note("... bound of the disk", moved.disk_s, "s")
        self._note("... beyond those, each move", moved.overhead_s * 1e3, "ms")
        self._note("... processor of all nodes, each move", moved.processor_s / moved.count * 1e3, "ms")

    async def _load(self, targets: list[Target], seconds: float) -> Answers:
        asking = posts(targets, payload(_RECORD_BYTES), RECORD_MEDIA, self._connections)
        async with connected(asking) as load:
            return await load.run(seconds)


async def run(partitions: int, connections: int, seconds: float, moves: int) -> list[Row]:
    """On new nodes, which are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="floodmark-scale-") as folder:
        nodes = Nodes(Path(folder))
        try:
            await nodes.start(nodes.nodes)
            scale = Scale(nodes, partitions, connections, seconds, moves)
            await scale.run()
        finally:
            for name in list(nodes.children):
                await nodes.kill(name)
    return scale.rows


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load")
    parser.add_argument("--moves", type=int, default=300, help="replicas that go to a fourth node")
    arguments = parser.parse_args()
    print(measure())
    if note := not_quiet():
        print(note)
    rows = asyncio.run(run(arguments.partitions, arguments.connections, arguments.seconds, arguments.moves))
    heading = f"{arguments.partitions:,} partitions x 3 on three nodes"
    print(table([heading, "", "goal, at most"], [row.cells for row in rows]))
    return 1 if any(row.is_missed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
