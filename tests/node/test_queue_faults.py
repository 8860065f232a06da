"""Queues whose shard's leaders come and go, and what goes wrong around them: nothing is lost, and no dead
letter is stored twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from floodmark.format.frame import iterate
from floodmark.format.frame_records import records_in
from floodmark.format.record import Record

from node.broker.queues import (
    Action,
    Breaker,
    DeadLetter,
    DeadName,
    Delivered,
    Place,
    QueueInfo,
    Receive,
    Replay,
    Settled,
)
from node.coordinator.delivery.dying_records import DyingRecords
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from node.service.topic_changes import AlterTopic
from tests.node.test_coordinator import asking, service_of
from tests.node.test_queues import QUEUE, Workers, produce, values
from tests.support.nodes import NodeCluster, TestNode

DEAD = "orders.dead"
VISIBLE_MS = 400


async def with_dead_letters(workers: Workers, *, partitions: int = 1, dead: int = 1, **config: Any) -> None:
    await workers.cluster.create(DEAD, partitions=dead, replicas=3)
    topic_id = workers.cluster.up[0].broker.topic(DEAD).topic_id
    await workers.put(partitions=partitions, dead_letter_topic=DEAD, dead_letter_topic_id=topic_id, **config)


async def info(workers: Workers) -> QueueInfo:
    return await workers.ask(lambda at: at.describe(QUEUE, timeout_s=10))


async def letters(workers: Workers) -> list[DeadLetter]:
    return list(await workers.ask(lambda at: at.dead_letters(QUEUE, after=None, limit=10_000, timeout_s=10)))


async def names(workers: Workers) -> list[DeadName]:
    return [DeadName(*each.source[:2], each.number) for each in await letters(workers)]


async def stored(cluster: NodeCluster, topic: str, partition: int = 0) -> list[Record]:
    at = await cluster.on_leader(topic, partition)
    found: list[Record] = []
    offset = 0
    while (fetched := await at.fetch(offset, max_bytes=1 << 20)).frames:
        for frame in iterate(fetched.frames):
            found += [record for record in records_in(frame, frame.payload) if record is not None]
        offset = fetched.next_offset
    return found


async def figures_of(cluster: NodeCluster, node: TestNode) -> dict[str, float]:
    async with cluster.session.get(f"{node.url}/metrics") as answer:
        text = await answer.text()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("floodmark_queue"))
    return {name: float(figure) for name, figure in lines}


async def until(workers: Workers, holds: Callable[[QueueInfo], bool]) -> QueueInfo:
    async with asyncio.timeout(30):
        while not holds(found := await info(workers)):  # noqa: ASYNC110 - other nodes do it
            await asyncio.sleep(0.02)
    return found


async def transfer(workers: Workers) -> None:
    """Another node leads the queue's shard."""
    await workers.cluster.hand_over(COORDINATOR_TOPIC, shard_of(QUEUE, SHARDS))


@pytest.mark.long
@pytest.mark.parametrize("seed", [5])
async def test_each_dead_letter_is_stored_once_whoever_leads(tmp_path: Path, seed: int) -> None:
    """Rejected while the shard's leadership goes from node to node, at any moment."""
    rng = random.Random(seed)
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers, partitions=2, dead=2, visibility_timeout_ms=500, backoff_ms=(0,))
        count = 150
        for partition in (0, 1):
            await produce(cluster, [b"%d-%d" % (partition, n) for n in range(count)], partition=partition)

        async def reject() -> None:
            while (await info(workers)).depth:
                got = await workers.receive(rng.randint(1, 20), wait_s=0.2)
                await workers.settle(got, Action.REJECT, reason="no good")

        async def change() -> None:
            while True:
                await asyncio.sleep(rng.uniform(0.05, 0.4))
                await transfer(workers)

        changing = asyncio.create_task(change())
        await asyncio.gather(reject(), reject())
        changing.cancel()
        found = await until(workers, lambda found: (found.dead, found.dying) == (2 * count, 0))
        assert (found.depth, found.in_flight) == (0, 0)
        listed = await letters(workers)
        for partition in (0, 1):
            there = await stored(cluster, DEAD, partition)
            wanted = {b"%d-%d" % (partition, n) for n in range(count)}
            assert Counter(record.value for record in there) == Counter(wanted), "each of them once"
            numbers = [int(record.headers["floodmark-dead-number"] or "") for record in there]
            assert numbers == sorted(numbers)
            for letter in (each for each in listed if each.source.partition == partition):
                record = there[letter.at.offset]
                assert record.headers["floodmark-dead-offset"] == str(letter.source.offset)
                assert record.value == b"%d-%d" % (partition, letter.source.offset)
                assert record.headers["floodmark-dead-reason"] == letter.reason == "no good"
        assert len({(each.source, each.number) for each in listed}) == 2 * count


async def test_letters_that_an_earlier_leader_stored_are_only_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crashes between storing them and saying so; meanwhile their topic gets more partitions."""

    async def dies(*_: object) -> None:
        await asyncio.Event().wait()

    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers, partitions=2)
        monkeypatch.setattr(DyingRecords, "noted", dies)
        for partition in (0, 1):
            await produce(cluster, [b"%d-0" % partition, b"%d-1" % partition], partition=partition)
        got: list[Delivered] = []
        while len(got) < 4:
            got += await workers.receive(4)
        await workers.settle(got, Action.REJECT)
        at = await cluster.on_leader(DEAD)
        await cluster.until(lambda: at.bounds().high_watermark == 4, "all are stored")
        assert (await info(workers)).dying == 4
        more = AlterTopic(topic=DEAD, partitions=2)
        await service_of(cluster.up[0]).ask(asking(), more)
        for node in cluster.up:
            await node.broker.catch_up(timeout_s=10)  # Whoever leads next knows of it.

        monkeypatch.undo()
        await transfer(workers)
        await produce(cluster, [b"1-2"], partition=1)
        await workers.settle(await workers.receive(1), Action.REJECT)
        listed = await letters_of(workers, 5)
        first, second = await stored(cluster, DEAD), await stored(cluster, DEAD, 1)
        assert sorted(record.value or b"" for record in first) == [b"0-0", b"0-1", b"1-0", b"1-1"]
        assert values_of(second) == [b"1-2"], "it is where letters of its partition go now"
        for letter in listed:
            record = (first, second)[letter.at.partition][letter.at.offset]
            assert record.value == b"%d-%d" % (letter.source.partition, letter.source.offset)


async def test_after_its_last_delivery_a_record_is_a_dead_letter_with_its_story(tmp_path: Path) -> None:
    """Its own headers first. Others are delivered meanwhile."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers, max_deliveries=2, backoff_ms=(0,))
        await produce(cluster, [b"pill", b"good"])
        pill, good = await workers.receive(2, worker="w1")
        await workers.settle([pill], Action.NACK, reason="first")
        (again,) = await workers.receive(2, worker="w2")
        assert (again.value, again.deliveries) == (b"pill", 2)
        await workers.settle([again], Action.NACK, reason="second")
        await workers.ack([good])
        await until(workers, lambda found: (found.dead, found.depth) == (1, 0))
        (record,) = await stored(cluster, DEAD)
        said = dict(record.headers)
        assert said.pop("floodmark-dead-first-delivered")
        assert said.pop("floodmark-dead-died")
        assert said == {
            "floodmark-dead-queue": QUEUE,
            "floodmark-dead-topic": "orders",
            "floodmark-dead-partition": "0",
            "floodmark-dead-offset": "0",
            "floodmark-dead-number": "0",
            "floodmark-dead-reason": "2 deliveries; at the last one it failed: second",
            "floodmark-dead-deliveries": "2",
            "floodmark-dead-worker": "w2",
        }


@pytest.mark.long
async def test_dead_letters_that_cannot_be_stored_hold_back_themselves_alone(tmp_path: Path) -> None:
    """Their topic is gone: the queue says so, and goes on with all others."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers)
        leader = await cluster.up[0].broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.topics.delete(DEAD, timeout_s=10)
        await produce(cluster, [b"pill", b"good"])
        pill, good = await workers.receive(2)
        await workers.settle([pill], Action.REJECT)
        await workers.ack([good])
        found = await until(workers, lambda found: bool(found.health))
        assert (found.health, found.dying, found.depth) == (["dead_letters_unwritable"], 1, 1)
        leader_of_shard = await workers.leader()
        assert any("dead_letters_unwritable" in each for each in leader_of_shard.broker.health().warnings)
        figures = await figures_of(cluster, leader_of_shard)
        assert figures['floodmark_queue_dying{queue="jobs"}'] == 1
        assert figures['floodmark_queue_stopped{queue="jobs",reason="dead_letters_unwritable"}'] == 1
        assert 0 < figures['floodmark_queue_oldest_seconds{queue="jobs"}'] < 60
        await produce(cluster, [b"more"])
        assert values(await workers.receive(2)) == [b"more"]


class KeyOrder:
    """What workers see of a queue by key: checked as they see it."""

    def __init__(self, workers: Workers, rng: random.Random, records: int) -> None:
        self.done: Counter[Place] = Counter()
        self._workers = workers
        self._rng = rng
        self._records = records
        self._in_hand: dict[tuple[int, bytes], float] = {}
        self._acked: dict[tuple[int, bytes], int] = {}

    async def work(self, worker: str) -> None:
        """Until all is done: some records fail, of some nothing is said."""
        rng = self._rng
        while len(self.done) < self._records:
            for record in await self._workers.receive(rng.randint(1, 5), worker=worker, wait_s=0.2):
                self._got(record)
                action = rng.choice([Action.ACK, Action.ACK, Action.NACK, None])
                if action is not None:
                    await self._settle(record, action)

    def _got(self, record: Delivered) -> None:
        if record.key is None:
            return
        now = asyncio.get_running_loop().time()
        at = (record.place.partition, record.key)
        assert self._in_hand.get(at, 0) < now, f"two records of {at} at once"
        assert self._acked.get(at, -1) < record.place.offset, f"{at} went back"
        self._in_hand[at] = now + VISIBLE_MS / 1_000 - 0.1

    async def _settle(self, record: Delivered, action: Action) -> None:
        at = (record.place.partition, record.key or b"")
        self._in_hand.pop(at, None)
        (answer,) = await self._workers.settle([record], action)
        if action is Action.ACK and answer is not Settled.LATE:
            self.done[record.place] += 1
            if record.key is not None:
                self._acked[at] = record.place.offset


@pytest.mark.long
@pytest.mark.parametrize("seed", [7])
async def test_a_key_has_one_record_in_hand_and_goes_on_in_order(tmp_path: Path, seed: int) -> None:
    """Eight workers, and leaders that change."""
    rng = random.Random(seed)
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await workers.put(
            partitions=2,
            ordering="key",
            visibility_timeout_ms=VISIBLE_MS,
            backoff_ms=(0, 50),
            max_deliveries=10_000,
            breaker=Breaker(failures=0),
        )
        keys = [rng.choice([b"a", b"b", b"c", b"d", None]) for _ in range(40)]
        for partition in (0, 1):
            await produce(cluster, [b"%d" % n for n in range(40)], partition=partition, keys=keys)
        order = KeyOrder(workers, rng, 80)

        async def change() -> None:
            while True:
                await asyncio.sleep(rng.uniform(0.3, 0.8))
                await transfer(workers)

        changing = asyncio.create_task(change())
        async with asyncio.timeout(60):
            await asyncio.gather(*(order.work(f"w{n}") for n in range(8)))
        changing.cancel()
        assert set(order.done.values()) == {1}, "what was acknowledged did not come again"
        assert (await info(workers)).depth == 0


@pytest.mark.long
async def test_a_broken_downstream_pauses_the_queue_and_one_record_tries_it(tmp_path: Path) -> None:
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        breaker = Breaker(failures=50, deliveries=4, window_ms=10_000, pause_ms=300)
        await with_dead_letters(workers, max_deliveries=2, backoff_ms=(0,), breaker=breaker)
        await produce(cluster, [b"%d" % n for n in range(8)])
        await workers.settle(await workers.receive(4), Action.NACK)
        request = Receive(worker="w", max_records=10)
        paused = await workers.ask(lambda at: at.receive(QUEUE, request, timeout_s=10))
        assert (paused.records, paused.paused) == ((), "breaker_open")
        assert (await info(workers)).health == ["breaker_open"]
        for _ in range(3):
            (tried,) = await workers.receive(10, wait_s=5)
            assert not await workers.receive(10, wait_s=0), "one at a time"
            await workers.settle([tried], Action.NACK)
        (tried,) = await workers.receive(10, wait_s=5)
        await workers.ack([tried])
        rest: set[bytes | None] = set()
        while len(rest) < 7:
            rest |= set(values(await workers.receive(10, wait_s=5)))
        found = await info(workers)
        assert (found.breaker, found.health, found.dead, found.dying) == ("closed", [], 0, 0)


async def die(workers: Workers, count: int) -> None:
    """All records of the first partition are dead letters."""
    got: list[Delivered] = []
    while len(got) < count:
        got += await workers.receive(count)
    await workers.settle(got, Action.REJECT, reason="no good")
    await until(workers, lambda found: (found.dead, found.dying) == (count, 0))


async def test_dead_letters_are_delivered_again_to_their_queue_alone(tmp_path: Path) -> None:
    """All, some by name, some by what they are; those that die again are letters anew, and come from where
    they came from first."""
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers, ordering="key", backoff_ms=(0,))
        keys = [b"a1", b"b1", b"a1", b"b2"]
        await produce(cluster, [b"0", b"1", b"2", b"3"], keys=keys)
        got = list(await workers.receive(10))
        assert values(got) == [b"0", b"1", b"3"], "of each key the first one"
        await workers.settle(got, Action.REJECT, reason="no good")
        got = list(await workers.receive(10))
        assert values(got) == [b"2"], "a poison pill stops its key until it is a letter"
        await workers.settle(got, Action.REJECT, reason="no good")
        await until(workers, lambda found: found.dead == 4)

        async def replay(**chosen: Any) -> int:
            return await workers.ask(lambda at: at.replay(QUEUE, Replay(**chosen), timeout_s=10))

        assert await replay(key_prefix=b"a") == 2
        (first,) = await workers.receive(10)
        assert (first.key, first.value, first.deliveries) == (b"a1", b"0", 1)
        assert await replay(letters=await names(workers)) == 2
        await transfer(workers)
        others = await workers.receive(10)
        assert sorted(record.value or b"" for record in others) == [b"1", b"3"]
        await workers.ack([*others, first])
        (again,) = await workers.receive(10)
        await workers.settle([again], Action.REJECT, reason="still no good")
        (letter,) = await letters_of(workers, 1)
        assert letter.reason == "still no good"
        record = (await stored(cluster, DEAD))[letter.at.offset]
        assert record.value == b"2"
        assert record.headers["floodmark-dead-topic"] == "orders"
        assert record.headers["floodmark-dead-offset"] == "2"
        assert await replay(headers={"floodmark-dead-reason": b"other"}) == 0
        assert await replay(headers={"floodmark-dead-reason": b"still no good"}, per_second=1) == 1
        await workers.ack(await workers.receive(10))
        found = await until(workers, lambda found: found.dead == 0)
        assert found.depth == 0


async def letters_of(workers: Workers, count: int) -> list[DeadLetter]:
    await until(workers, lambda found: (found.dead, found.dying) == (count, 0))
    return await letters(workers)


async def test_dead_letters_leave_the_list_and_stay_in_their_topic(tmp_path: Path) -> None:
    async with NodeCluster.running(tmp_path) as cluster:
        workers = Workers(cluster)
        await with_dead_letters(workers)
        await produce(cluster, [b"0", b"1", b"2"])
        await die(workers, 3)
        named = await names(workers)
        assert await workers.ask(lambda at: at.purge_dead(QUEUE, named[:1], timeout_s=10)) == 1
        assert await workers.ask(lambda at: at.purge_dead(QUEUE, None, timeout_s=10)) == 2
        assert await letters(workers) == []
        assert values_of(await stored(cluster, DEAD)) == [b"0", b"1", b"2"]


def values_of(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]
