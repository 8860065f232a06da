"""The cost of a record whose partition sleeps before and after it: ``python -m bench.sparse``, about a
minute.

Three node processes hold a replica each of some hundred partitions. A client writes single records, always to
the partition whose last one is the longest ago, so that each finds its partition asleep. Printed, for each
record and without what idle nodes need: the processor time of all nodes together, the
messages between nodes that belong to partitions, and the fsyncs. All nodes and the client share this
machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.console import not_quiet, to_stderr
from bench.growth.connection import Connection
from bench.growth.load import RECORD_MEDIA, Target, targets_of
from bench.idle import Nodes
from bench.machine import measure, percentile
from bench.markdown import table
from bench.payload import payload
from bench.rows import Row
from local.ports import LOOPBACK

TOPIC: Final = "sparse"
GOAL_MS: Final = 1.5
_QUIET_S: Final = 10.0
_AFTER_S: Final = 3.0
"""From the last record until its partition sleeps and its checkpoint is made."""
_RECORD_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Used:
    """What all nodes together had used at one moment."""

    seconds: float
    processor_s: float
    messages: float
    flushes: float

    def since(self, before: Used) -> Used:
        """What they used in between."""
        return Used(
            self.seconds - before.seconds,
            self.processor_s - before.processor_s,
            self.messages - before.messages,
            self.flushes - before.flushes,
        )


async def used(nodes: Nodes) -> Used:
    """As it is now."""
    messages = await nodes.metric("floodmark_peer_messages_sent_total")
    flushes = await nodes.metric("floodmark_log_flush_seconds_count")
    return Used(time.perf_counter(), nodes.processor_s(), messages, flushes)


async def write(targets: Sequence[Target], records: int, per_second: float) -> list[float]:
    """One record after the other at this pace, over all targets in turn; the seconds that each took."""
    loop = asyncio.get_running_loop()
    body = payload(_RECORD_BYTES)
    request: list[bytes] = []
    connections: dict[int, Connection] = {}
    try:
        for port in {target.port for target in targets}:
            connection = connections[port] = Connection(lambda _head: [request.pop()] if request else None)
            await loop.create_connection(lambda made=connection: made, LOOPBACK, port)  # type: ignore[misc]
        begin = time.perf_counter()
        for number in range(records):
            await asyncio.sleep(begin + number / per_second - time.perf_counter())
            target = targets[number % len(targets)]
            head = (
                f"POST {target.path} HTTP/1.1\r\nHost: {LOOPBACK}:{target.port}\r\n"
                f"Content-Type: {RECORD_MEDIA}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            request.append(head.encode() + body)
            await connections[target.port].run(float("inf"))
        return [latency for connection in connections.values() for latency in connection.latencies]
    finally:
        for connection in connections.values():
            connection.close()


async def cost(nodes: Nodes, topic: str, records: int, per_second: float) -> list[Row]:
    """Of so many records in a topic whose partitions all sleep."""
    targets = await targets_of([node.url for node in nodes.nodes], topic)
    before = await used(nodes)
    await asyncio.sleep(_QUIET_S)
    idle = (await used(nodes)).since(before)
    before = await used(nodes)
    latencies = await write(targets, records, per_second)
    await asyncio.sleep(_AFTER_S)
    spent = (await used(nodes)).since(before)
    share = spent.seconds / idle.seconds

    def each(what: str) -> float:
        return float(getattr(spent, what) - getattr(idle, what) * share) / records

    return [
        Row("record in a sparse partition, all nodes", each("processor_s") * 1e3, "ms of processor", GOAL_MS),
        Row("... messages between nodes", each("messages"), "messages"),
        Row("... fsyncs of logs", each("flushes"), "fsyncs"),
        Row("... until it is answered, p50", percentile(latencies, 0.5) * 1e3, "ms"),
        Row("... idle meanwhile, all nodes", idle.processor_s / idle.seconds * 100, "% of a core"),
    ]


async def run(partitions: int, records: int, per_second: float, rounds: int) -> list[Row]:
    """On new nodes, which are gone at the end."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="floodmark-sparse-") as folder:
        nodes = Nodes(Path(folder))
        try:
            await nodes.start(nodes.nodes)
            await nodes.make(TOPIC, partitions)
            await asyncio.sleep(_QUIET_S)
            for _ in range(rounds):
                found = await cost(nodes, TOPIC, records, per_second)
                to_stderr("; ".join(" ".join(row.cells) for row in found))
                rows += found
        finally:
            for name in list(nodes.children):
                await nodes.kill(name)
    return rows


def main() -> int:
    """Measure and print; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=300)
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--per-second", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    print(measure())
    if note := not_quiet():
        print(note)
    rows = asyncio.run(run(arguments.partitions, arguments.records, arguments.per_second, arguments.rounds))
    print(table(["", "", "goal, at most"], [row.cells for row in rows]))
    return 1 if any(row.is_missed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
