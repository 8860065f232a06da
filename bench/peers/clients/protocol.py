"""What every system's client can do, and the loops that they share."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Protocol


class PeerClient(Protocol):
    """An open client. Every loop is bounded by its ``deadline`` (of ``time.perf_counter``)."""

    @abstractmethod
    async def create(self, topic: str) -> None:
        """Make a topic of three partitions (or what comes closest), three replicas each."""

    @abstractmethod
    async def waiting(
        self, topic: str, value: bytes, *, callers: int, deadline: float, way: str
    ) -> list[float]:
        """Callers that send one record each, wait until it is acknowledged, and go on; each time it took."""

    @abstractmethod
    async def flood(self, topic: str, value: bytes, *, count: int, deadline: float, way: str) -> int:
        """Write up to ``count`` records as fast as can be; how many were acknowledged, all being settled."""

    @abstractmethod
    async def read(self, topic: str, *, count: int, deadline: float, way: str) -> tuple[int, int]:
        """Read from the start until ``count`` records have come: how many, and how many bytes of payload."""

    @abstractmethod
    async def send_soon(self, topic: str, values: Sequence[bytes]) -> None:
        """Hand some records over without waiting for their acknowledgements, to leave at once."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until all that was handed over is acknowledged."""

    @abstractmethod
    def follow(self, topic: str) -> AsyncIterator[bytes]:
        """The payloads of a new topic, each as soon as it can be had; before them an empty one: I listen."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""


class UnderWay:
    """Concurrent requests that are not awaited one by one; never more than ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def add(self, request: Coroutine[None, None, None]) -> None:
        """Begin one; waits while there are too many."""
        if len(self._tasks) >= self._limit:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait for all; raises the first error of any."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._error = self._error or task.exception()


async def call_in_turn(
    put: Callable[[int], Awaitable[None]], *, callers: int, deadline: float
) -> list[float]:
    """``callers`` tasks, each calling ``put`` (with a number that counts up) again when it has returned."""
    latencies: list[float] = []
    clock = time.perf_counter

    async def one_after_another(number: int) -> None:
        while (begin := clock()) < deadline:
            await put(number)
            latencies.append((clock() - begin) * 1e3)
            number += callers

    await asyncio.gather(*(one_after_another(number) for number in range(callers)))
    return latencies
