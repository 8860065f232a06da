"""Kafka with confluent-kafka: a C library that works in threads of its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.group_consumers.clients.protocol import GroupClient, Members, Reading
from bench.group_consumers.watch import Watch
from bench.group_consumers.work import COMMIT_EVERY_S, RECORD_BYTES, SEND_EVERY_S
from bench.peers.work import PARTITIONS, REPLICAS, Job

_AT_ONCE = 10_000
_POLL_S = 0.05
_CLOSERS = 16
"""Consumers that are closed at once: each waits for the coordinator."""
_LAG_MAX_S = 30.0
_OFFSETS = "__consumer_offsets"
_COMMIT_TIMEOUT_S = 10.0
_NOT_YET = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


class KafkaMembers(Members):
    """Polled in turn by one thread."""

    def __init__(self, consumers: list[Consumer]) -> None:
        self._consumers = consumers
        self._closers = ThreadPoolExecutor(_CLOSERS)

    def counts(self) -> list[int]:
        """As each consumer has them."""
        for consumer in self._consumers:
            _must(consumer.poll(0))
        return [len(consumer.assignment()) for consumer in self._consumers]

    async def leave(self) -> None:
        """The last one; the others go on meanwhile."""
        await self._close([self._consumers.pop()])

    async def close(self) -> None:
        """All leave."""
        gone, self._consumers = self._consumers, []
        await self._close(gone)
        self._closers.shutdown()

    async def _close(self, gone: list[Consumer]) -> None:
        loop = asyncio.get_running_loop()
        closing = [loop.run_in_executor(self._closers, consumer.close) for consumer in gone]
        while not all(each.done() for each in closing):
            self.counts()
            await asyncio.sleep(0.01)


class KafkaGroups(GroupClient):
    """Consumers are made when they are needed."""

    def __init__(self, job: Job) -> None:
        self._servers: dict[str, Any] = {"bootstrap.servers": ",".join(job.addresses)}
        self._topic_config = dict(job.options)
        self._admin = AdminClient(self._servers)
        self._committers: list[Consumer] = []
        self._offsets = itertools.count(1)

    async def create(self, topic: str, *, partitions: int, replicas: int) -> None:
        """One topic."""
        config = {"min.insync.replicas": str(min(2, replicas)), **self._topic_config}
        new = NewTopic(topic, partitions, replicas, config=config)
        for made in self._admin.create_topics([new], operation_timeout=20).values():
            made.result()

    async def read(self, topic: str, reading: Reading, *, group: str, way: str) -> None:
        """Many messages a call; each is looked at."""
        consumer = self._consumer(group or "none", way=way, commits=bool(group))
        if group:
            consumer.subscribe([topic])
        else:
            consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in range(PARTITIONS)])
        is_enough = False
        while not is_enough and time.perf_counter() < reading.deadline:
            for message in consumer.consume(_AT_ONCE, timeout=_POLL_S):
                _must(message)
                is_enough = reading.came()
                if is_enough:
                    break
        consumer.close()

    @asynccontextmanager
    async def members(self, topic: str, *, group: str, count: int, way: str) -> AsyncIterator[Members]:
        """A consumer each, with the library's threads for it."""
        consumers = [self._consumer(group, way=way) for _ in range(count)]
        for consumer in consumers:
            consumer.subscribe([topic])
        members = KafkaMembers(consumers)
        yield members
        await members.close()

    async def commit(self, topic: str, *, group: str, callers: int, deadline: float) -> list[float]:
        """A thread, a consumer and a group for each caller."""
        while len(self._committers) < callers:
            self._committers.append(self._consumer(f"{group}-{len(self._committers)}"))

        def commit_on(number: int) -> list[float]:
            consumer, latencies = self._committers[number], []
            while (begin := time.perf_counter()) < deadline:
                _commit(consumer, TopicPartition(topic, number % PARTITIONS, next(self._offsets)))
                latencies.append((time.perf_counter() - begin) * 1e3)
            return latencies

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(callers) as threads:
            found = await asyncio.gather(
                *(loop.run_in_executor(threads, commit_on, number) for number in range(callers))
            )
        return [latency for each in found for latency in each]

    async def follow(self, topic: str, watch: Watch, *, group: str, way: str) -> None:
        """One loop: its calls do not wait for the brokers."""
        is_committing = False

        def committed(error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
            nonlocal is_committing
            is_committing = False
            if error is None:
                watch.commit()

        consumer = self._consumer(group, way=way, on_commit=committed)
        consumer.subscribe([topic], on_assign=lambda *_: watch.assigned())
        producer = Producer({**self._servers, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
        start = time.monotonic()
        sent, done, next_commit = 0, 0, start
        while True:
            while (now := time.monotonic()) - start > sent * SEND_EVERY_S:
                producer.produce(topic, bytes(RECORD_BYTES), partition=sent % PARTITIONS)
                sent += 1
            producer.poll(0)
            for message in consumer.consume(_AT_ONCE, timeout=SEND_EVERY_S / 2):
                if message.error() is None:  # those tell of brokers that are gone
                    watch.record(message.partition())
            if now >= next_commit and not is_committing and watch.records > done:
                is_committing, done = True, watch.records
                next_commit = now + COMMIT_EVERY_S
                consumer.commit(asynchronous=True)
            await asyncio.sleep(0)

    async def coordinator(self, topic: str, group: str) -> int:
        """As the brokers say, once all replicas of its offsets are in sync."""
        async with asyncio.timeout(_LAG_MAX_S):
            while True:
                parts = self._admin.list_topics(_OFFSETS, timeout=10).topics[_OFFSETS].partitions.values()
                if all(len(part.isrs) == REPLICAS for part in parts):
                    break
                await asyncio.sleep(0.2)
        found = self._admin.describe_consumer_groups([group], request_timeout=10)[group].result()
        return int(found.coordinator.id) - 1

    async def close(self) -> None:
        """What is left open."""
        for consumer in self._committers:
            consumer.close()

    def _consumer(self, group: str, *, way: str = "classic", commits: bool = False, **more: Any) -> Consumer:
        return Consumer(
            {
                **self._servers,
                "group.id": group,
                "group.protocol": way or "classic",
                "enable.auto.commit": commits,
                "auto.commit.interval.ms": round(COMMIT_EVERY_S * 1000),
                "auto.offset.reset": "earliest",
                **more,
            }
        )


def _commit(consumer: Consumer, offset: TopicPartition) -> None:
    """Again where a coordinator has only just become one, as users do."""
    deadline = time.perf_counter() + _COMMIT_TIMEOUT_S
    while True:
        try:
            [done] = consumer.commit(offsets=[offset], asynchronous=False)
        except KafkaException as refused:
            error = refused.args[0]
        else:
            error = done.error
        if error is None:
            return
        if time.perf_counter() > deadline or error.code() not in _NOT_YET:
            raise KafkaException(error)


def _must(message: Message | None) -> None:
    if message is not None and (error := message.error()) is not None:
        raise KafkaException(error)


async def connect(job: Job) -> KafkaGroups:
    """It connects when it is used."""
    return KafkaGroups(job)
