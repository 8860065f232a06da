"""The axes: along each, one thing grows and all else stays as it is.

An axis starts nodes of its own, walks through its places once a round, and hands on what it measures. All
writes are ``acks=quorum``: on the disks of a majority. What the kinds of load are called for people stands in
titles.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

from bench.growth.log_size import log_size
from bench.growth.metadata import metadata
from bench.growth.meter import Meter, Posting, Sink
from bench.growth.nodes import started
from bench.growth.scale import Scale

REPLICAS: Final = 3
_PARTITIONS: Final = 3
_ONE: Final = Posting("one", 1)
_MANY: Final = Posting("many", 64)
_BATCHES: Final = Posting("batches", 8, records=256)

Run = Callable[[Scale, int, Sink], Awaitable[None]]


async def partitions(scale: Scale, round_number: int, sink: Sink) -> None:
    """More and more partitions on three nodes, all of them written to."""
    async with started(REPLICAS) as nodes:
        meter = Meter("partitions", round_number, nodes, sink)
        topics: list[str] = []
        for before, x in pairwise((0, *scale.partitions)):
            topics.append(f"up-to-{x}")
            made_s = await nodes.create(topics[-1], partitions=x - before, replication=REPLICAS)
            meter.gauge(x, "create_s", made_s)
            await meter.idle(x, scale.idle_s, quiet_s_max=scale.quiet_s_max)
            if before == 0:
                meter.gauge(x, "rss_fresh_mb", nodes.rss_bytes() / 1e6)
            targets = await nodes.targets(topics)
            for posting in (_ONE, _MANY, _BATCHES):
                await meter.produce(x, posting, targets, scale.seconds)
        await nodes.stop()
        meter.gauge(scale.partitions[-1], "restart_s", await nodes.start())
        meter.gauge(scale.partitions[-1], "rss_fresh_mb", nodes.rss_bytes() / 1e6)


async def record_size(scale: Scale, round_number: int, sink: Sink) -> None:
    """Requests with one record each, which grows; and reading what they wrote."""
    async with started(REPLICAS) as nodes:
        meter = Meter("record-size", round_number, nodes, sink)
        for x in scale.record_bytes:
            targets = await nodes.topic(f"of-{x}", partitions=_PARTITIONS, replication=REPLICAS)
            for series, connections in (("one", 1), ("many", 16)):
                await meter.produce(x, Posting(series, connections, record_bytes=x), targets, scale.seconds)
            await meter.read(x, "read", targets[0], start=0, seconds=scale.seconds, again=True)


async def batch_size(scale: Scale, round_number: int, sink: Sink) -> None:
    """Requests with a batch each, of more and more records of 1 KiB."""
    async with started(REPLICAS) as nodes:
        meter = Meter("batch-size", round_number, nodes, sink)
        for x in scale.batch_records:
            targets = await nodes.topic(f"of-{x}", partitions=_PARTITIONS, replication=REPLICAS)
            for series, connections in (("one", 1), ("eight", 8)):
                posting = Posting(series, connections, records=x, batched=True)
                await meter.produce(x, posting, targets, scale.seconds)


async def connections(scale: Scale, round_number: int, sink: Sink) -> None:
    """More and more connections, each with a record of 1 KiB under way."""
    async with started(REPLICAS) as nodes:
        meter = Meter("connections", round_number, nodes, sink)
        targets = await nodes.topic("connections", partitions=_PARTITIONS, replication=REPLICAS)
        for x in scale.connections:
            await meter.produce(x, Posting("many", x), targets, scale.seconds)


async def replication(scale: Scale, round_number: int, sink: Sink) -> None:
    """More replicas, one on each node."""
    for x in scale.replication:
        async with started(x) as nodes:
            meter = Meter("replication", round_number, nodes, sink)
            targets = await nodes.topic("replicated", partitions=_PARTITIONS, replication=x)
            for posting in (_ONE, _MANY, _BATCHES):
                await meter.produce(x, posting, targets, scale.seconds)


async def more_nodes(scale: Scale, round_number: int, sink: Sink) -> None:
    """More nodes, with three replicas of each partition: what only their number costs."""
    for x in scale.nodes:
        async with started(x) as nodes:
            meter = Meter("nodes", round_number, nodes, sink)
            targets = await nodes.topic("spread", partitions=4 * x, replication=REPLICAS)
            await meter.idle(x, scale.idle_s, quiet_s_max=scale.quiet_s_max)
            await meter.produce(x, _MANY, targets, scale.seconds)
            ports = sorted({target.port for target in targets})
            elsewhere = [
                replace(target, port=ports[(ports.index(target.port) + 1) % len(ports)]) for target in targets
            ]
            await meter.produce(x, Posting("forwarded", 64), elsewhere, scale.seconds)


RUNS: Final[Mapping[str, Run]] = {
    "partitions": partitions,
    "record-size": record_size,
    "batch-size": batch_size,
    "connections": connections,
    "log-size": log_size,
    "replication": replication,
    "nodes": more_nodes,
    "metadata": metadata,
}
