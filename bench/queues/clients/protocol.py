"""What every system's client can do."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Worker(Protocol):
    """One worker of a queue."""

    @abstractmethod
    async def turn(self, batch: int) -> int:
        """Get up to so many records and have them acknowledged, confirmed by the server; how many were.

        0 where there was nothing to get for a moment.
        """


class QueueClient(Protocol):
    """An open client."""

    @abstractmethod
    async def create(self, queue: str, *, by_key: bool) -> None:
        """Make what has records of three partitions (or what comes closest) and a queue on it."""

    @abstractmethod
    async def fill(self, queue: str, count: int, deliver_at_ms: int | None) -> None:
        """Write so many records, all acknowledged."""

    @abstractmethod
    async def worker(self, queue: str, number: int, way: str) -> Worker:
        """One more worker."""

    @abstractmethod
    async def program(self, queue: str, at_once: int, *, count: int, seconds: float) -> int:
        """Work off so many records as a program does that has ``at_once`` in hand, each in a task of its own.

        How many were, all acknowledgements being confirmed.
        """

    @abstractmethod
    async def delayed(self, queue: str) -> int:
        """How many records the queue knows to be for later."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""


async def one_loop(
    take: Callable[[int], Awaitable[Sequence[T]]],
    finish: Callable[[T], Awaitable[None]],
    at_once: int,
    *,
    count: int,
    seconds: float,
) -> int:
    """A program's loop: takes as many as it has room for, and finishes each in a task of its own."""
    ends = time.perf_counter() + seconds
    tasks: set[asyncio.Task[None]] = set()
    done = 0

    async def work(one: T) -> None:
        nonlocal done
        await finish(one)
        done += 1

    while done < count and time.perf_counter() < ends:
        if len(tasks) >= at_once:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in await take(at_once - len(tasks)):
            task = asyncio.create_task(work(one))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.gather(*tasks)
    return done
