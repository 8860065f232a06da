"""Floodmark with its Python client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import floodmark
from floodmark.queues.calls import QueueCalls
from floodmark.queues.job import Job as QueueJob
from floodmark.queues.shapes import Action, Settlement
from floodmark.transport.http import Transport

from bench.payload import payload
from bench.peers.work import Job
from bench.queues.clients.protocol import QueueClient, Worker
from bench.queues.work import KEYS, LIST, RECORD_BYTES, TOGETHER

_PARTITIONS = 3
_WAIT_S = 0.2


class FloodmarkClient(QueueClient):
    """``floodmark.Client``, and what ``client.queue`` is made of."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._client = floodmark.Client(addresses)
        self._transport = Transport(addresses, request_timeout_s=10.0)

    async def create(self, queue: str, *, by_key: bool) -> None:
        """A topic and a queue of one name."""
        await self._client.topics.ensure(queue, partitions=_PARTITIONS, replication_factor=3)
        await self._client.queues.put(
            queue, queue, ordering="key" if by_key else "none", dead_letter_topic=None
        )

    async def fill(self, queue: str, count: int, deliver_at_ms: int | None) -> None:
        """A producer, in lists."""
        values = [payload(RECORD_BYTES)] * LIST
        keys = [b"%d" % (number % KEYS) for number in range(LIST)]
        async with self._client.producer(queue, delivery_timeout_s=60) as producer:
            for sent in range(0, count, LIST):
                some = min(LIST, count - sent)
                await producer.send_many(values[:some], keys=keys[:some], deliver_at=deliver_at_ms)

    async def worker(self, queue: str, number: int, way: str) -> Worker:
        """All share their connections."""
        return _Worker(QueueCalls(self._transport, queue, f"w{number}", 10.0), way)

    async def program(self, queue: str, at_once: int, *, count: int, seconds: float) -> int:
        """``queue.run``: it receives and acknowledges for all of them together."""
        done = 0
        async with self._client.queue(queue) as jobs:

            async def handle(_job: QueueJob) -> None:
                nonlocal done
                done += 1
                if done >= count:
                    jobs.stop()

            timer = asyncio.get_running_loop().call_later(seconds, jobs.stop)
            await jobs.run(handle, concurrency=at_once, wait_s=_WAIT_S)
            timer.cancel()
        return done

    async def delayed(self, queue: str) -> int:
        """As the queue's description says."""
        return (await self._client.queues.describe(queue)).delayed

    async def close(self) -> None:
        """Both."""
        await self._transport.close()
        await self._client.close()


class _Worker(Worker):
    def __init__(self, calls: QueueCalls, way: str) -> None:
        self._calls = calls
        self._way = way
        self._open: list[Settlement] = []

    async def turn(self, batch: int) -> int:
        if self._way == TOGETHER:
            settled = len(self._open)
            received = await self._calls.receive(batch, wait_s=_WAIT_S, settlements=self._open)
            self._open = [Settlement(record.receipt, Action.ACK) for record in received.records]
            return settled
        received = await self._calls.receive(batch, wait_s=_WAIT_S)
        if received.records:
            await self._calls.settle([Settlement(record.receipt, Action.ACK) for record in received.records])
        return len(received.records)


async def connect(job: Job) -> FloodmarkClient:
    """All three nodes are known to it."""
    return FloodmarkClient(job.addresses)
