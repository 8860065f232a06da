"""NATS JetStream with nats-py. A topic is three streams, which is how JetStream spreads load."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy, PubAck, StreamConfig

from bench.peers.clients.protocol import PeerClient, call_in_turn
from bench.peers.work import PARTITIONS, REPLICAS, Job

_PENDING_BYTES = 256 << 20
_LOOK_AT_CLOCK = 256


class NatsClient(PeerClient):
    """``nats.connect`` and its JetStream context."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=30)
        self._next = 0
        self._error: BaseException | None = None

    async def create(self, topic: str) -> None:
        """One stream for each partition; its subject is its name."""
        for subject in _subjects(topic):
            config = StreamConfig(name=subject, subjects=[subject], num_replicas=REPLICAS)
            await self._stream.add_stream(config)

    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """``publish`` waits for its acknowledgement."""
        subjects = _subjects(topic)

        async def put(number: int) -> None:
            await self._stream.publish(subjects[number % PARTITIONS], value)

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """``publish_async`` waits while too many are pending; every acknowledgement is looked at."""
        subjects = _subjects(topic)
        sent = 0
        while sent < count:
            await self._publish_soon(subjects[sent % PARTITIONS], value)
            sent += 1
            if sent % _LOOK_AT_CLOCK == 0 and time.perf_counter() >= deadline:
                break
        await self.settle()
        return sent

    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """An ordered consumer for each stream, with callbacks."""
        records = size = 0
        done = asyncio.Event()

        async def take(message: Msg) -> None:
            nonlocal records, size
            records += 1
            size += len(message.data)
            if records >= count:
                done.set()

        for subject in _subjects(topic):
            await self._subscribe(subject, take)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), deadline - time.perf_counter())
        return records, size

    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """Asynchronously; ``flush`` puts them on the wire."""
        subjects = _subjects(topic)
        for value in values:
            await self._publish_soon(subjects[self._next % PARTITIONS], value)
            self._next += 1

    async def settle(self) -> None:
        """All pending ones."""
        await asyncio.wait_for(self._stream.publish_async_completed(), 60)
        if self._error is not None:
            raise self._error

    async def _publish_soon(self, subject: str, value: bytes) -> None:
        pending = await self._stream.publish_async(subject, value)
        pending.add_done_callback(self._look_at)

    def _look_at(self, pending: asyncio.Future[PubAck]) -> None:
        self._error = self._error or pending.exception()

    async def follow(self, topic: str) -> AsyncIterator[bytes]:
        """Ordered consumers, which are pushed to."""
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(message: Msg) -> None:
            arrived.put_nowait(message.data)

        for subject in _subjects(topic):
            await self._subscribe(subject, take)
        yield b""
        while True:
            yield await arrived.get()

    async def _subscribe(self, subject: str, take: Callable[[Msg], Awaitable[None]]) -> None:
        await self._stream.subscribe(
            subject,
            stream=subject,
            cb=take,
            ordered_consumer=True,
            deliver_policy=DeliverPolicy.ALL,
            pending_bytes_limit=_PENDING_BYTES,
        )

    async def close(self) -> None:
        """The connection; subscriptions end with it."""
        await self._client.close()


def _subjects(topic: str) -> list[str]:
    return [f"{topic}-{number}" for number in range(PARTITIONS)]


async def connect(job: Job) -> NatsClient:
    """To one of the three servers."""
    return NatsClient(await nats.connect(job.addresses, max_reconnect_attempts=5))
