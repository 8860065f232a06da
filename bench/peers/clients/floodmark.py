"""Floodmark with its Python client, and with plain HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
import floodmark
from floodmark.producer.producer import Producer

from bench.peers.clients.protocol import PeerClient, call_in_turn
from bench.peers.work import PARTITIONS, REPLICAS, Job

_LIST = 1000
_LOOK_AT_CLOCK = 256


class FloodmarkClient(PeerClient):
    """``floodmark.Client``."""

    def __init__(self, client: floodmark.Client) -> None:
        self._client = client
        self._producer: Producer | None = None
        self._session: aiohttp.ClientSession | None = None

    async def create(self, topic: str) -> None:
        """One topic."""
        await self._client.topics.create(topic, partitions=PARTITIONS, replication_factor=REPLICAS)

    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """``client.produce``, or posts straight to the leaders."""
        if way == "http":
            return await self._posting(topic, value, callers=callers, deadline=deadline)

        async def put(number: int) -> None:
            await self._client.produce(topic, value, partition=number % PARTITIONS)

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def _posting(self, topic: str, value: bytes, *, callers: int, deadline: float) -> list[float]:
        described = await self._client.topics.describe(topic)
        nodes = {node.node_id: node.http for node in await self._client.nodes()}
        urls = [
            f"{nodes[str(each.leader)]}/v1/topics/{topic}/partitions/{each.partition}/records"
            for each in described.partitions
        ]
        if self._session is None:
            headers = {"Content-Type": "application/octet-stream"}
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)
        post = self._session.post

        async def put(number: int) -> None:
            async with post(urls[number % PARTITIONS], data=value) as answer:
                text = await answer.read()
                assert answer.status == 200, text

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """A producer; record by record, or in lists."""
        sent = 0
        async with self._client.producer(topic, delivery_timeout_s=60) as producer:
            if way == "lists":
                values = [value] * _LIST
                while sent < count and time.perf_counter() < deadline:
                    await producer.send_many(values)
                    sent += _LIST
            else:
                for sent in range(1, count + 1):
                    await producer.send(value)
                    if sent % _LOOK_AT_CLOCK == 0 and time.perf_counter() >= deadline:
                        break
        return sent

    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """Record by record, or by batches."""
        records = size = 0
        if way == "batches":
            async for batch in self._client.read_batches(topic):
                records += len(batch.records)
                size += sum(len(record.value or b"") for record in batch.records)
                if records >= count or time.perf_counter() >= deadline:
                    break
        else:
            async for record in self._client.read(topic):
                records += 1
                size += len(record.value or b"")
                if records == count or (records % _LOOK_AT_CLOCK == 0 and time.perf_counter() >= deadline):
                    break
        return records, size

    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """A producer that does not linger."""
        if self._producer is None:
            self._producer = self._client.producer(topic, linger_ms=0)
        for value in values:
            await self._producer.send(value)

    async def settle(self) -> None:
        """Flush."""
        if self._producer is not None:
            await self._producer.close()

    async def follow(self, topic: str) -> AsyncIterator[bytes]:
        """A reader that waits for more."""
        async with self._client.read(topic, follow=True) as records:
            yield b""
            async for record in records:
                yield record.value or b""

    async def close(self) -> None:
        """The client, and the plain session."""
        if self._session is not None:
            await self._session.close()
        await self._client.close()


async def connect(job: Job) -> FloodmarkClient:
    """All three nodes are known to it."""
    return FloodmarkClient(floodmark.Client(job.addresses))
