"""What every system's client can do."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol


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
    async def delayed(self, queue: str) -> int:
        """How many records the queue knows to be for later."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""
