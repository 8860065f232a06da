"""Kafka with confluent-kafka: a C library that works in threads of its own, called from one Python thread."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
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

from bench.peers.clients.protocol import PeerClient
from bench.peers.work import PARTITIONS, REPLICAS, Job

_LOOK_AT_CLOCK = 256
_AT_ONCE = 10_000


class KafkaClient(PeerClient):
    """One producer or consumer a job."""

    def __init__(self, job: Job) -> None:
        self._servers: dict[str, Any] = {"bootstrap.servers": ",".join(job.addresses)}
        self._topic_config = dict(job.options)
        self._waiting: Producer | None = None
        self._soon: Producer | None = None
        self._consumer: Consumer | None = None
        self._acknowledged = 0
        self._error: KafkaError | None = None
        self._next = 0

    async def create(self, topic: str) -> None:
        """One topic."""
        config = {"min.insync.replicas": "2", **self._topic_config}
        new = NewTopic(topic, PARTITIONS, REPLICAS, config=config)
        admin = AdminClient(self._servers)
        for made in admin.create_topics([new], operation_timeout=20).values():
            made.result()

    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """A delivery callback starts its caller's next record."""
        producer = self._waiting = self._waiting or self._producer({"linger.ms": 0})
        latencies: list[float] = []
        clock = time.perf_counter
        waiting = callers

        def send(number: int) -> None:
            begin = clock()

            def delivered(error: KafkaError | None, _: Message) -> None:
                nonlocal waiting
                latencies.append((clock() - begin) * 1e3)
                self._error = self._error or error
                if clock() < deadline:
                    send(number + callers)
                else:
                    waiting -= 1

            producer.produce(topic, value, partition=number % PARTITIONS, on_delivery=delivered)

        for number in range(callers):
            send(number)
        while waiting and clock() < deadline + 60:
            producer.poll(0.1)
        self._raise_failure()
        return latencies

    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """``produce`` hands over to the library's queue; when that is full, it is waited for."""
        producer = self._producer({"linger.ms": 20, "batch.size": 200_000})
        delivered, produce = self._delivered, producer.produce
        sent = 0
        while sent < count:
            try:
                produce(topic, value, on_delivery=delivered)
            except BufferError:
                producer.poll(0.01)
                continue
            sent += 1
            if sent % _LOOK_AT_CLOCK == 0:
                producer.poll(0)
                if time.perf_counter() >= deadline:
                    break
        producer.flush(60)
        self._raise_failure()
        return self._acknowledged

    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """Many messages a call."""
        consumer = self._assigned(topic)
        records = size = 0
        while records < count and time.perf_counter() < deadline:
            messages = consumer.consume(_AT_ONCE, timeout=0.05)
            records += len(messages)
            size += sum(len(_value(message)) for message in messages)
        return records, size

    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """A producer that does not linger."""
        if self._soon is None:
            self._soon = self._producer({"linger.ms": 0})
        for value in values:
            # The partitioner for records without keys stays with one partition for a while ("sticky"),
            # which is for batching; here it would only delay.
            self._soon.produce(topic, value, partition=self._next % PARTITIONS, on_delivery=self._delivered)
            self._next += 1
        self._soon.poll(0)

    async def settle(self) -> None:
        """Flush."""
        if self._soon is not None:
            self._soon.flush(60)
        self._raise_failure()

    async def follow(self, topic: str) -> AsyncIterator[bytes]:
        """What has arrived, without waiting for more."""
        consumer = self._assigned(topic)
        consumer.poll(1.0)  # Nothing can have come: this connects to the leaders.
        yield b""
        while True:
            first = consumer.poll(0.5)
            if first is not None:
                yield _value(first)
                for message in consumer.consume(_AT_ONCE, timeout=0):
                    yield _value(message)

    async def close(self) -> None:
        """The consumer; producers end with the process."""
        if self._consumer is not None:
            self._consumer.close()

    def _producer(self, settings: dict[str, object]) -> Producer:
        return Producer({**self._servers, "acks": "all", "enable.idempotence": True, **settings})

    def _assigned(self, topic: str) -> Consumer:
        """A consumer without a group's rebalancing, at the start of all partitions."""
        self._consumer = Consumer(
            {
                **self._servers,
                "group.id": "bench",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in range(PARTITIONS)])
        return self._consumer

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self._acknowledged += 1
        else:
            self._error = error

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise KafkaException(self._error)


def _value(message: Message) -> bytes:
    if (error := message.error()) is not None:
        raise KafkaException(error)
    value = message.value()
    assert isinstance(value, bytes)
    return value


async def connect(job: Job) -> KafkaClient:
    """It connects when it is used."""
    return KafkaClient(job)
