"""A running consumer while nodes end: the coordinator of its group, and leaders of what it reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from floodmark import Client

from node.metadata.domains.coordinator import shard_of
from node.metadata.state import COORDINATOR_TOPIC
from tests.support.nodes import NodeCluster


async def test_a_consumer_goes_on_while_the_coordinators_node_ends(tmp_path: Path) -> None:
    """It is told nothing of it: no partition is lost, no record is missed, none comes twice."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=3, replicas=3)
        seen: Counter[int] = Counter()
        lost: list[object] = []
        revoked: list[object] = []
        async with Client([node.url for node in cluster.up]) as client:
            consumer = client.consume(
                "orders", group="g", on_lost=lost.extend, on_revoked=revoked.extend, session_timeout_s=20
            )

            async def read() -> None:
                async for record in consumer:
                    seen[record.json()] += 1

            async def write(numbers: range) -> None:
                async with client.producer("orders", linger_ms=0) as producer:
                    for number in numbers:
                        await (await producer.send(number, partition=number % 3))

            reading = asyncio.create_task(read())
            await write(range(30))
            await cluster.until(lambda: len(seen) == 30, "all is read")
            was = consumer.member_id
            shard = shard_of("g", 16)
            leader = await cluster.leader(COORDINATOR_TOPIC, shard)
            ending = asyncio.create_task(leader.stop())
            await write(range(30, 90))
            await ending
            await cluster.until(lambda: len(seen) == 90, "all is read")
            assert (lost, revoked, consumer.member_id) == ([], [], was)
            (member,) = (await client.groups.describe("g")).members
            assert (member.member_id, len(member.assignment)) == (was, 3)
            consumer.stop()
            await reading
            assert sum(each.offset for each in await client.groups.offsets("g")) == 90
        assert set(seen.values()) == {1}, "none comes twice"
