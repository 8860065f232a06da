"""Queues on whole nodes, at the leaders of their shards: what is received is settled, or comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from floodmark.errors import OutcomeUnknown, Unavailable, UnknownQueue
from floodmark.format.batch import encode_with_header
from floodmark.format.record import Record

from node.broker import Acks
from node.broker.queues import (
    Action,
    Delivered,
    QueueAdmin,
    QueueConfig,
    Receive,
    Received,
    Settled,
    Settlement,
)
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from tests.support.nodes import NodeCluster, TestNode

R = TypeVar("R")
QUEUE = "jobs"


class Workers:
    """Who works on one queue of the topic "orders"."""

    def __init__(self, cluster: NodeCluster, queue: str = QUEUE) -> None:
        self.cluster = cluster
        self.queue = queue

    async def leader(self) -> TestNode:
        return await self.cluster.leader(COORDINATOR_TOPIC, shard_of(self.queue, SHARDS))

    async def ask(self, request: Callable[[QueueAdmin], Awaitable[R]]) -> R:
        """Of whoever leads; again where nothing was done, or where that does no harm."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await request((await self.leader()).broker.queues)
                except (Unavailable, OutcomeUnknown):
                    await asyncio.sleep(0.01)

    async def put(
        self, topic: str = "orders", *, partitions: int = 1, exists: bool = False, **config: Any
    ) -> None:
        """A queue of a topic, which is made."""
        cluster = self.cluster
        if not exists:
            await cluster.create(topic, partitions=partitions, replicas=3)
        await make_coordinator(cluster)
        topic_id = cluster.up[0].broker.topic(topic).topic_id
        wanted = QueueConfig(topic=topic, topic_id=topic_id, **config)
        await self.ask(lambda at: at.put(self.queue, wanted, timeout_s=10))

    async def receive(
        self, count: int = 1, *, worker: str = "w", wait_s: float = 10.0
    ) -> Sequence[Delivered]:
        return (await self.received(count, worker=worker, wait_s=wait_s)).records

    async def received(self, count: int = 1, *, worker: str = "w", wait_s: float = 10.0) -> Received:
        request = Receive(worker=worker, max_records=count, wait_s=wait_s)
        return await self.ask(lambda at: at.receive(self.queue, request, timeout_s=10))

    async def settle(self, records: Sequence[Delivered], action: Action, **more: Any) -> Sequence[Settled]:
        said = [settlement(record, action, **more) for record in records]
        return await self.ask(lambda at: at.settle(self.queue, said, timeout_s=10))

    async def ack(self, records: Sequence[Delivered]) -> Sequence[Settled]:
        return await self.settle(records, Action.ACK)


def settlement(record: Delivered, action: Action, **more: Any) -> Settlement:
    return Settlement(place=record.place, lease=record.lease, action=action, **more)


async def make_coordinator(cluster: NodeCluster) -> None:
    leader = await cluster.up[0].broker.metadata.wait_leader(timeout_s=10)
    await cluster[leader].broker.groups.make_coordinator(timeout_s=10)
    for node in cluster.up:
        await node.broker.catch_up(timeout_s=10)


async def produce(
    cluster: NodeCluster,
    values: Sequence[bytes],
    *,
    partition: int = 0,
    topic: str = "orders",
    keys: Sequence[bytes | None] = (),
    deliver_at_ms: int | None = None,
) -> None:
    at = await cluster.on_leader(topic, partition)
    records = [
        Record(None, key, value) for key, value in zip(keys or [None] * len(values), values, strict=True)
    ]
    batch, header = encode_with_header(records, format=2)
    await at.produce(batch, header, acks=Acks.QUORUM, timeout_s=10, deliver_at_ms=deliver_at_ms)


def values(records: Sequence[Delivered]) -> list[bytes | None]:
    return [record.value for record in records]


async def test_what_is_acknowledged_does_not_come_again_and_the_rest_does(tmp_path: Path) -> None:
    """Also after the leader of the queue's shard has gone; a receiver that waits gets what is produced."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await workers.put(partitions=2, backoff_ms=(0,))
        with pytest.raises(UnknownQueue):
            await Workers(cluster, "others").receive()
        waiting = asyncio.create_task(workers.receive(10))
        await produce(cluster, [b"a", b"b", b"c"])
        first = await waiting
        assert values(first) == [b"a", b"b", b"c"]
        assert {record.deliveries for record in first} == {1}
        assert not await workers.receive(10, wait_s=0), "they are in hand"
        assert await workers.ack(first[:2]) == [Settled.DONE] * 2
        assert await workers.ack(first[:2]) == [Settled.ALREADY] * 2

        await produce(cluster, [b"d"], partition=1)
        (last,) = await workers.receive(10)
        assert last.value == b"d"
        soon_over = [first[2], last]
        assert await workers.settle(soon_over, Action.EXTEND, delay_ms=500) == [Settled.DONE] * 2
        await (await workers.leader()).stop()
        again = list(await workers.receive(2))
        while len(again) < 2:
            again += await workers.receive(2)
        assert sorted(record.value or b"" for record in again) == [b"c", b"d"]
        assert {record.deliveries for record in again} == {2}
        assert await workers.ack(first) == [Settled.ALREADY, Settled.ALREADY, Settled.LATE]
        assert await workers.ack(again) == [Settled.DONE] * 2
        info = await workers.ask(lambda at: at.describe(QUEUE, timeout_s=10))
        assert (info.depth, info.in_flight, info.waiting, info.settled) == (0, 0, 0, 4)


async def test_a_record_waits_for_its_time_and_then_comes_in_the_order_of_its_key(tmp_path: Path) -> None:
    """Others pass it meanwhile. The next leader knows of it, whoever waits."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await workers.put(ordering="key")
        at_ms = (await workers.leader()).running.host.wall.now_ms() + 4_000
        await produce(cluster, [b"later"], keys=[b"k"], deliver_at_ms=at_ms)
        await produce(cluster, [b"now"], keys=[b"k"])
        (now,) = await workers.receive(10)
        assert now.value == b"now"
        waiting = asyncio.create_task(workers.receive(10))
        info = await workers.ask(lambda at: at.describe(QUEUE, timeout_s=10))
        assert (info.delayed, info.in_flight, info.depth) == (1, 1, 2)
        await (await workers.leader()).stop()
        leader = await workers.leader()
        await workers.ack([now])
        (later,) = await waiting
        assert (later.value, later.deliveries) == (b"later", 1)
        assert leader.running.host.wall.now_ms() >= at_ms


@pytest.mark.long
async def test_a_time_that_has_come_waits_for_an_earlier_record_of_its_key(tmp_path: Path) -> None:
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await workers.put(ordering="key")
        at_ms = (await workers.leader()).running.host.wall.now_ms() + 300
        await produce(cluster, [b"later"], keys=[b"k"], deliver_at_ms=at_ms)
        await produce(cluster, [b"now"], keys=[b"k"])
        (now,) = await workers.receive(10)
        assert not await workers.receive(10, wait_s=0.6), "one of a key at once"
        await workers.ack([now])
        assert values(await workers.receive(10)) == [b"later"]


async def test_what_retention_took_is_counted_and_the_rest_is_delivered(tmp_path: Path) -> None:
    """Of what was never seen, and of what waits to be delivered again."""
    async with NodeCluster.running(tmp_path, **{"storage.retention_interval_s": 0.2}) as cluster:
        workers = Workers(cluster)
        await cluster.create("orders", partitions=1, replicas=3, segment_bytes=4_096, retention_bytes=20_000)
        await workers.put(exists=True, backoff_ms=(200,))
        await produce(cluster, [b"%05d" % n for n in range(10)])
        await workers.settle(await workers.receive(5), Action.NACK)
        for begin in range(10, 200, 10):
            await produce(cluster, [b"%05d" % n + bytes(500) for n in range(begin, begin + 10)])
        at = await cluster.on_leader("orders")
        await cluster.until(lambda: at.bounds().log_start_offset > 50, "retention has removed the first ones")
        got: list[Delivered] = []
        while not got or got[-1].place.offset < 199:
            got += await workers.receive(1_000)
            await workers.ack(got)
        offsets = [record.place.offset for record in got]
        assert offsets == sorted(set(offsets)), "some had been read before they were gone"
        assert set(offsets) >= set(range(at.bounds().log_start_offset, 200)), "all that is there"
        info = await workers.ask(lambda at: at.describe(QUEUE, timeout_s=10))
        assert (info.lost + info.settled, info.depth, info.waiting) == (200, 0, 0)
        assert info.lost >= 200 - len(got) > 0


async def test_a_queue_from_the_end_has_what_comes_and_one_that_is_purged_nothing(tmp_path: Path) -> None:
    """A queue that is deleted and made again begins anew; whoever waited for its records is told."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await cluster.create("orders", partitions=1, replicas=3)
        await produce(cluster, [b"before"])
        await workers.put(exists=True, start="latest")
        await produce(cluster, [b"a", b"b", b"c"])
        (first,) = await workers.receive(1)
        assert first.value == b"a"
        assert await workers.ask(lambda at: at.purge(QUEUE, timeout_s=10)) == 3
        assert not await workers.receive(1, wait_s=0)
        assert await workers.ack([first]) == [Settled.ALREADY]
        waiting = asyncio.create_task(workers.receive(1))
        await workers.ask(lambda at: at.delete(QUEUE, timeout_s=10))
        with pytest.raises(UnknownQueue):
            await waiting
        with pytest.raises(UnknownQueue):
            await workers.receive(1)
        await workers.put(exists=True)
        assert values(await workers.receive(10)) == [b"before", b"a", b"b", b"c"]
        listed = await workers.ask(
            lambda at: at.page(shard_of(QUEUE, SHARDS), prefix="j", after="", limit=10, timeout_s=10)
        )
        assert [(each.queue, each.topic) for each in listed] == [(QUEUE, "orders")]
