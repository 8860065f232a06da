"""NATS JetStream: durable pull consumers with explicit acknowledgements. A topic is three streams."""

from __future__ import annotations

import asyncio
import itertools

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.client import JetStreamContext

from bench.payload import payload
from bench.peers.work import Job
from bench.queues.clients.protocol import QueueClient, Worker, one_loop
from bench.queues.work import RECORD_BYTES

_STREAMS = 3
_REPLICAS = 3
_DURABLE = "workers"
_WAIT_S = 0.2
_ACK_PENDING_MAX = 100_000


class NatsClient(QueueClient):
    """``nats.connect`` and its JetStream context."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=30)

    async def create(self, queue: str, *, by_key: bool) -> None:
        """One stream for each partition, each with one durable consumer."""
        for subject in _subjects(queue):
            stream = StreamConfig(name=subject, subjects=[subject], num_replicas=_REPLICAS)
            await self._stream.add_stream(stream)
            consumer = ConsumerConfig(
                durable_name=_DURABLE,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=30,
                max_ack_pending=_ACK_PENDING_MAX,
            )
            await self._stream.add_consumer(subject, consumer)

    async def fill(self, queue: str, count: int, deliver_at_ms: int | None) -> None:
        """Asynchronously; all are acknowledged at the end."""
        value, subjects = payload(RECORD_BYTES), _subjects(queue)
        subjects = subjects * (count // _STREAMS + 1)
        pending = [await self._stream.publish_async(subject, value) for subject in subjects[:count]]
        await asyncio.wait_for(self._stream.publish_async_completed(), 120)
        for each in pending:
            each.result()

    async def worker(self, queue: str, number: int, way: str) -> Worker:
        """With a subscription to each stream's consumer."""
        return _Worker(await self._subscriptions(queue), number)

    async def program(self, queue: str, at_once: int, *, count: int, seconds: float) -> int:
        """``fetch`` for all of them, ``ack_sync`` for each."""
        turns = itertools.cycle(await self._subscriptions(queue))

        async def take(room: int) -> list[Msg]:
            try:
                return list(await next(turns).fetch(room, timeout=_WAIT_S))
            except TimeoutError:
                return []

        async def finish(message: Msg) -> None:
            await message.ack_sync(timeout=30)

        return await one_loop(take, finish, at_once, count=count, seconds=seconds)

    async def _subscriptions(self, queue: str) -> list[JetStreamContext.PullSubscription]:
        subjects = _subjects(queue)
        return [await self._stream.pull_subscribe_bind(_DURABLE, stream=subject) for subject in subjects]

    async def delayed(self, queue: str) -> int:
        """Not measured."""
        raise NotImplementedError

    async def close(self) -> None:
        """The connection; subscriptions end with it."""
        await self._client.close()


class _Worker(Worker):
    """Each turn asks the next stream."""

    def __init__(self, subscriptions: list[JetStreamContext.PullSubscription], number: int) -> None:
        self._turns = itertools.cycle(
            [*subscriptions[number % _STREAMS :], *subscriptions[: number % _STREAMS]]
        )

    async def turn(self, batch: int) -> int:
        try:
            messages = await next(self._turns).fetch(batch, timeout=_WAIT_S)
        except TimeoutError:
            return 0
        # A connection's acknowledgements are taken in order: the confirmation of the last one is that of all.
        for message in messages[:-1]:
            await message.ack()
        await messages[-1].ack_sync(timeout=30)
        return len(messages)


def _subjects(queue: str) -> list[str]:
    return [f"{queue}-{number}" for number in range(_STREAMS)]


async def connect(job: Job) -> NatsClient:
    """To one of the three servers."""
    return NatsClient(await nats.connect(job.addresses, max_reconnect_attempts=5))
