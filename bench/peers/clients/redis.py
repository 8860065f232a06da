"""Redis Streams with redis-py and hiredis. A topic is three streams on the one primary."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
import redis.asyncio

from bench.peers.clients.protocol import PeerClient, UnderWay, call_in_turn
from bench.peers.work import MANY_CALLERS, PARTITIONS, Job

_REPLICAS = 1
_WAIT_MS = 10_000
_PIPELINE = 1_000
_THREADS = 2
_PAGE = 1_000
_FIELD = b"v"


class RedisClient(PeerClient):
    """Asynchronous for callers that wait, in threads for bulk, which costs redis-py less."""

    def __init__(self, job: Job) -> None:
        host, port = job.addresses[0].split(":")
        self._place: dict[str, Any] = {"host": host, "port": int(port), "socket_timeout": 60}
        pool = redis.asyncio.ConnectionPool(**self._place, max_connections=MANY_CALLERS + 8)
        self._async = redis.asyncio.Redis(connection_pool=pool)
        self._under_way = UnderWay(MANY_CALLERS)
        self._turn = itertools.cycle(range(PARTITIONS))

    async def create(self, topic: str) -> None:
        """A stream comes to be with its first record."""
        await self._async.ping()

    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """One pipeline each: add, and wait for one replica."""
        streams = _streams(topic)

        async def put(number: int) -> None:
            await self._add(streams[number % PARTITIONS], [value])

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def _add(self, stream: str, values: Sequence[bytes]) -> None:
        async with self._async.pipeline(transaction=False) as pipe:
            for value in values:
                pipe.xadd(stream, {_FIELD: value})
            pipe.wait(_REPLICAS, _WAIT_MS)
            _check(await pipe.execute())

    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """While the server works on one thread's pipeline, the other one packs the next."""

        def pipelines(number: int) -> int:
            connection = redis.Redis(**self._place)
            sent = 0
            streams = _streams(topic)
            while sent < count // _THREADS and time.perf_counter() < deadline:
                pipe = connection.pipeline(transaction=False)
                stream = streams[number % PARTITIONS]
                number += _THREADS
                for _ in range(_PIPELINE):
                    pipe.xadd(stream, {_FIELD: value})
                pipe.wait(_REPLICAS, _WAIT_MS)
                _check(pipe.execute())
                sent += _PIPELINE
            connection.close()
            return sent

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(_THREADS) as pool:
            futures = (loop.run_in_executor(pool, pipelines, number) for number in range(_THREADS))
            return sum(await asyncio.gather(*futures))

    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """Page by page, stream by stream."""
        connection = redis.Redis(**self._place)
        records = size = 0
        for stream in _streams(topic):
            after = "-"
            while time.perf_counter() < deadline:
                page: Any = connection.xrange(stream, after, "+", _PAGE)
                if not page:
                    break
                records += len(page)
                size += sum(len(fields[_FIELD]) for _, fields in page)
                after = "(" + page[-1][0].decode()
        connection.close()
        return records, size

    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """A pipeline of its own, beside those that are still waiting."""
        await self._under_way.add(self._add(_streams(topic)[next(self._turn)], values))

    async def settle(self) -> None:
        """All pipelines."""
        await self._under_way.settle()

    async def follow(self, topic: str) -> AsyncIterator[bytes]:
        """All three streams in one blocking read."""
        last: dict[Any, Any] = dict.fromkeys(_streams(topic), "0")
        yield b""
        while True:
            found: Any = await self._async.xread(last, count=_PAGE, block=500)
            for stream, entries in found or ():
                for _, fields in entries:
                    yield fields[_FIELD]
                last[stream.decode()] = entries[-1][0]

    async def close(self) -> None:
        """All connections."""
        await self._async.aclose()


def _streams(topic: str) -> list[str]:
    return [f"{topic}-{number}" for number in range(PARTITIONS)]


def _check(answers: Sequence[Any]) -> None:
    """An answer that is an error has been raised; the last one is how many replicas have it all."""
    if answers[-1] < _REPLICAS:
        raise TimeoutError(f"{answers[-1]} replicas acknowledged")


async def connect(job: Job) -> RedisClient:
    """To the primary."""
    return RedisClient(job)
