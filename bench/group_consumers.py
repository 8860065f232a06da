"""What it is like to consume in a group: ``python -m bench.group_consumers [--records 500000]``.

Three nodes as processes. One consumer reads a topic plainly and in a group, in turns; many members join at
once and one leaves; a consumer goes on while the node is killed that leads its group's shard.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import floodmark
from floodmark.groups.consumer import GroupConsumer

from bench.machine import measure
from local.cluster import LocalCluster
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC

RECORD_BYTES = 100
PARTITIONS = 3
ROUNDS = 3
LIVE_TOPIC = "live"
GROUP = "live"
SEND_EVERY_S = 0.005
WATCH_S = 8.0


class Bench:
    """On one cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.urls = [node.url for node in cluster.nodes.values()]
        self.first_s: list[float] = []
        """From a call until its first record came."""

    async def throughput(self, records: int) -> None:
        """The same topic plainly, and in a group that is new each time."""
        async with floodmark.Client(self.urls) as client:
            await client.topics.create("full", partitions=PARTITIONS, replication_factor=3)
            async with client.producer("full", linger_ms=5, delivery_timeout_s=60) as producer:
                for _ in range(records // 1000):
                    await producer.send_many([bytes(RECORD_BYTES)] * 1000)
                await producer.flush()
        rates: dict[str, list[float]] = {"plainly": [], "in a group": []}
        for number in range(ROUNDS):
            rates["plainly"].append(await self._rate(_plainly))
            rates["in a group"].append(await self._rate(partial(_in_a_group, group=f"full-{number}")))
        for place, (how, found) in enumerate(rates.items()):
            print(
                f"records read {how}: {statistics.median(found):,.0f}/s "
                f"[{min(found):,.0f} to {max(found):,.0f}], "
                f"the first one after {statistics.median(self.first_s[place::2]) * 1000:.0f} ms"
            )
        ratio = statistics.median(rates["in a group"]) / statistics.median(rates["plainly"])
        print(f"in a group beside plainly: {100 * (ratio - 1):+.1f}%")

    async def _rate(self, read: Callable[[floodmark.Client], AsyncIterator[object]]) -> float:
        """From the first record on; how long that takes in a group is said beside it."""
        async with floodmark.Client(self.urls) as client:
            began = time.perf_counter()
            first, count = began, 0
            async for _record in read(client):
                if not count:
                    first = time.perf_counter()
                count += 1
            self.first_s.append(first - began)
            return count / (time.perf_counter() - first)

    async def rebalance(self, members: int) -> None:
        """All join at once, each to have one partition; then one leaves."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(floodmark.Client(self.urls)) for _ in range(4)]
            await clients[0].topics.create("wide", partitions=members, replication_factor=1)
            began = time.perf_counter()
            consumers = [clients[number % 4].consume("wide", group="wide") for number in range(members)]
            tasks = [asyncio.create_task(_read_on(consumer)) for consumer in consumers]
            each = [1] * members
            await _until(lambda: [len(consumer.assignment) for consumer in consumers] == each)
            took = time.perf_counter() - began
            print(f"{members} members from their joins until each has its partition: {took:.2f} s")
            began = time.perf_counter()
            consumers.pop().stop()
            await tasks.pop()
            await _until(lambda: sum(len(consumer.assignment) for consumer in consumers) == members)
            print(f"one leaves, until another has its partition: {time.perf_counter() - began:.2f} s")
            for consumer in consumers:
                consumer.stop()
            await asyncio.gather(*tasks)

    async def failover(self, kills: int) -> None:
        """The longest time without a record for a running consumer, and how often it was given partitions."""
        gaps, given = [], 0

        def assigned(_partitions: object) -> None:
            nonlocal given
            given += 1

        async with floodmark.Client(self.urls) as client:
            await client.topics.create(LIVE_TOPIC, partitions=PARTITIONS, replication_factor=3)
            seen: list[float] = []
            consumer = client.consume(LIVE_TOPIC, group=GROUP, on_assigned=assigned)
            tasks = [asyncio.create_task(_read_on(consumer, seen)), asyncio.create_task(self._send())]
            for _ in range(kills):
                seen.clear()
                await _until(lambda: len(seen) > 200)
                down = await self._coordinator(client)
                first = len(seen) - 1
                await self._cluster.kill(down)
                await asyncio.sleep(WATCH_S)
                gaps.append(max(b - a for a, b in itertools.pairwise([*seen[first:], time.monotonic()])))
                await self._cluster.start(down)
                await self._cluster.ready(down)
            consumer.stop()
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        print(
            f"kill -9 of the node that leads the group's shard, {kills} times: "
            f"the longest time without a record {statistics.median(gaps):.2f} s "
            f"[{min(gaps):.2f} to {max(gaps):.2f}]; {given} assignments in all"
        )

    async def _coordinator(self, client: floodmark.Client) -> str:
        topic = await client.topics.describe(COORDINATOR_TOPIC)
        return str(topic.partitions[shard_of(GROUP, SHARDS)].leader)

    async def _send(self) -> None:
        async with floodmark.Client(self.urls) as client, client.producer(LIVE_TOPIC) as producer:
            while True:
                await producer.send(bytes(RECORD_BYTES))
                await asyncio.sleep(SEND_EVERY_S)


def _plainly(client: floodmark.Client) -> AsyncIterator[object]:
    return aiter(client.read("full"))


def _in_a_group(client: floodmark.Client, *, group: str) -> AsyncIterator[object]:
    return aiter(client.consume("full", group=group, follow=False))


async def _read_on(consumer: GroupConsumer, seen: list[float] | None = None) -> None:
    async for _record in consumer:
        if seen is not None:
            seen.append(time.monotonic())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - many consumers are waited for at once
            await asyncio.sleep(0.02)


async def run(records: int, members: int, kills: int) -> None:
    """All of it, on one cluster."""
    with tempfile.TemporaryDirectory(prefix="floodmark-groups-") as folder:
        print(measure(Path(folder)))
        print(f"processes that wanted to run before this began: {os.getloadavg()[0]:.1f}")
        cluster = LocalCluster(Path(folder), 3)
        try:
            await cluster.start()
            await cluster.ready()
            bench = Bench(cluster)
            await bench.throughput(records)
            await bench.rebalance(members)
            await bench.failover(kills)
        finally:
            await cluster.kill(*cluster.children)
            cluster.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.records, arguments.members, arguments.kills))
