"""Redis Streams: a consumer group on each of three streams on the one primary."""

from __future__ import annotations

import itertools
from typing import Any

import redis.asyncio

from bench.payload import payload
from bench.peers.work import Job
from bench.queues.clients.protocol import QueueClient, Worker, one_loop
from bench.queues.work import LIST, RECORD_BYTES, TOGETHER, WORKERS

_STREAMS = 3
_GROUP = "workers"
_REPLICAS = 1
_WAIT_MS = 10_000
_FIELD = b"v"


class RedisClient(QueueClient):
    """redis-py with hiredis; what is acknowledged is on the primary's disk and at one replica (``WAIT``)."""

    def __init__(self, job: Job) -> None:
        host, port = job.addresses[0].split(":")
        pool = redis.asyncio.ConnectionPool(
            host=host, port=int(port), socket_timeout=60, max_connections=max(WORKERS) + 8
        )
        self._redis = redis.asyncio.Redis(connection_pool=pool)

    async def create(self, queue: str, *, by_key: bool) -> None:
        """Streams and groups."""
        for stream in _streams(queue):
            await self._redis.xgroup_create(stream, _GROUP, id="0", mkstream=True)

    async def fill(self, queue: str, count: int, deliver_at_ms: int | None) -> None:
        """Pipelines of a thousand."""
        value, streams = payload(RECORD_BYTES), itertools.cycle(_streams(queue))
        for sent in range(0, count, LIST):
            async with self._redis.pipeline(transaction=False) as pipe:
                for _ in range(min(LIST, count - sent)):
                    pipe.xadd(next(streams), {_FIELD: value})
                pipe.wait(_REPLICAS, _WAIT_MS)
                _check(await pipe.execute())

    async def worker(self, queue: str, number: int, way: str) -> Worker:
        """With a connection of the pool while it asks."""
        return _Worker(self._redis, _streams(queue), number, way)

    async def program(self, queue: str, at_once: int, *, count: int, seconds: float) -> int:
        """``XREADGROUP`` for all of them, ``XACK`` with ``WAIT`` for each."""
        turns = itertools.cycle(_streams(queue))

        async def take(room: int) -> list[tuple[str, bytes]]:
            stream = next(turns)
            found = await self._redis.xreadgroup(_GROUP, "program", {stream: ">"}, count=room)
            return [(stream, id_) for id_ in _ids(found)]

        async def finish(one: tuple[str, bytes]) -> None:
            stream, id_ = one
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xack(stream, _GROUP, id_)
                pipe.wait(_REPLICAS, _WAIT_MS)
                _check(await pipe.execute())

        return await one_loop(take, finish, at_once, count=count, seconds=seconds)

    async def delayed(self, queue: str) -> int:
        """There are none."""
        raise NotImplementedError

    async def close(self) -> None:
        """All connections."""
        await self._redis.aclose()


class _Worker(Worker):
    """Each turn asks the next stream."""

    def __init__(self, client: redis.asyncio.Redis, streams: list[str], number: int, way: str) -> None:
        self._redis = client
        self._name = f"w{number}"
        self._way = way
        self._turns = itertools.cycle([*streams[number % _STREAMS :], *streams[: number % _STREAMS]])
        self._open: tuple[str, list[bytes]] = ("", [])

    async def turn(self, batch: int) -> int:
        stream = next(self._turns)
        if self._way == TOGETHER:
            before, ids = self._open
            async with self._redis.pipeline(transaction=False) as pipe:
                if ids:
                    pipe.xack(before, _GROUP, *ids)
                pipe.xreadgroup(_GROUP, self._name, {stream: ">"}, count=batch)
                pipe.wait(_REPLICAS, _WAIT_MS)
                answers = await pipe.execute()
            _check(answers)
            self._open = (stream, _ids(answers[-2]))
            return len(ids)
        ids = _ids(await self._redis.xreadgroup(_GROUP, self._name, {stream: ">"}, count=batch))
        if ids:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xack(stream, _GROUP, *ids)
                pipe.wait(_REPLICAS, _WAIT_MS)
                _check(await pipe.execute())
        return len(ids)


def _ids(found: Any) -> list[bytes]:
    """An answer has the streams that have records, each with its entries."""
    pairs = found.items() if isinstance(found, dict) else found or ()
    entries = [entry for _, some in pairs for entry in (some[0] if isinstance(found, dict) else some)]
    return [id_ for id_, _ in entries]


def _streams(queue: str) -> list[str]:
    return [f"{queue}-{number}" for number in range(_STREAMS)]


def _check(answers: list[Any]) -> None:
    if answers[-1] < _REPLICAS:
        raise TimeoutError(f"{answers[-1]} replicas acknowledged")


async def connect(job: Job) -> RedisClient:
    """To the primary."""
    return RedisClient(job)
