"""Floodmark with its Python client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import floodmark
from floodmark.groups.consumer import GroupConsumer
from floodmark.groups.shapes import TopicPartition

from bench.group_consumers.clients.protocol import GroupClient, Members, Reading
from bench.group_consumers.watch import Watch
from bench.group_consumers.work import COMMIT_EVERY_S, RECORD_BYTES, SEND_EVERY_S
from bench.peers.clients.protocol import call_in_turn
from bench.peers.work import PARTITIONS, REPLICAS, Job
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC

_CLIENTS = 4
"""That members share: each has its connections."""
_LAG_MAX_S = 30.0


class FloodmarkMembers(Members):
    """A task for each."""

    def __init__(self, consumers: list[GroupConsumer]) -> None:
        self._consumers = consumers
        self._tasks = [asyncio.create_task(_read_on(consumer)) for consumer in consumers]

    def counts(self) -> list[int]:
        """As each consumer has them."""
        for task in self._tasks:
            if task.done():
                task.result()
        return [len(consumer.assignment) for consumer in self._consumers]

    async def leave(self) -> None:
        """The last one."""
        self._consumers.pop().stop()
        await self._tasks.pop()

    async def close(self) -> None:
        """All leave."""
        for consumer in self._consumers:
            consumer.stop()
        await asyncio.gather(*self._tasks)


class FloodmarkGroups(GroupClient):
    """``floodmark.Client``."""

    def __init__(self, client: floodmark.Client, addresses: list[str]) -> None:
        self._client = client
        self._addresses = addresses
        self._offsets = itertools.count(1)

    async def create(self, topic: str, *, partitions: int, replicas: int) -> None:
        """One topic."""
        await self._client.topics.create(topic, partitions=partitions, replication_factor=replicas)

    async def read(self, topic: str, reading: Reading, *, group: str, way: str) -> None:
        """Record by record."""
        if group:
            async with self._client.consume(topic, group=group, follow=False) as consumer:
                async for _record in consumer:
                    if reading.came():
                        break
        else:
            async for _plain in self._client.read(topic):
                if reading.came():
                    break

    @asynccontextmanager
    async def members(self, topic: str, *, group: str, count: int, way: str) -> AsyncIterator[Members]:
        """Spread over a few clients."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(floodmark.Client(self._addresses)) for _ in range(_CLIENTS)
            ]
            members = FloodmarkMembers(
                [clients[number % _CLIENTS].consume(topic, group=group) for number in range(count)]
            )
            yield members
            await members.close()

    async def commit(self, topic: str, *, group: str, callers: int, deadline: float) -> list[float]:
        """A group for each caller."""

        async def put(number: int) -> None:
            place = TopicPartition(topic, number % PARTITIONS)
            await self._client.groups.commit(f"{group}-{number % callers}", {place: next(self._offsets)})

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def follow(self, topic: str, watch: Watch, *, group: str, way: str) -> None:
        """The consumer, what it commits, and the producer, each in a task."""
        async with (
            self._client.consume(
                topic, group=group, commit="manual", on_assigned=lambda _: watch.assigned()
            ) as consumer,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._send(topic))
            tasks.create_task(_commit_on(consumer, watch))
            async for record in consumer:
                watch.record(record.partition)

    async def _send(self, topic: str) -> None:
        async with self._client.producer(topic, linger_ms=0) as producer:
            for number in itertools.count():
                await producer.send(bytes(RECORD_BYTES), partition=number % PARTITIONS)
                await asyncio.sleep(SEND_EVERY_S)

    async def coordinator(self, topic: str, group: str) -> int:
        """The leader of its shard, once all replicas are in sync."""
        async with asyncio.timeout(_LAG_MAX_S):
            while True:
                shards = (await self._client.topics.describe(COORDINATOR_TOPIC)).partitions
                shard = shards[shard_of(group, SHARDS)]
                if shard.leader is not None and len(shard.in_sync) == REPLICAS:
                    return int(shard.leader.removeprefix("n")) - 1
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        """The client."""
        await self._client.close()


async def _read_on(consumer: GroupConsumer) -> None:
    async for _record in consumer:
        pass


async def _commit_on(consumer: GroupConsumer, watch: Watch) -> None:
    done = 0
    while True:
        await asyncio.sleep(COMMIT_EVERY_S)
        if (records := watch.records) > done:
            with contextlib.suppress(floodmark.FloodmarkError):  # it is tried again with what came since
                await consumer.commit()
                watch.commit()
                done = records


async def connect(job: Job) -> FloodmarkGroups:
    """All three nodes are known to it."""
    return FloodmarkGroups(floodmark.Client(job.addresses), job.addresses)
