"""What every system's client can do."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bench.group_consumers.watch import Watch


class Reading:
    """One consumer's, as it goes. Call ``came`` with each record."""

    def __init__(self, count: int, *, seconds: float, patience_s: float) -> None:
        """``seconds``: bound of it, from the first record on, which may take ``patience_s``."""
        self._count = count
        self._seconds = seconds
        self._began = time.perf_counter()
        self._first = self._last = 0.0
        self._records = self._counted = 0
        self.deadline = self._began + patience_s
        """Of ``time.perf_counter``."""

    def came(self) -> bool:
        """Whether it is enough. Looks at the clock now and then."""
        self._records += 1
        if self._records == 1:
            self._first = time.perf_counter()
            self.deadline = self._first + self._seconds
        if self._records < self._count and self._records & 255:
            return False
        self._last, self._counted = time.perf_counter(), self._records
        return self._records >= self._count or self._last >= self.deadline

    def answer(self) -> dict[str, float]:
        """Records a second from the first one on, and how long that took to come."""
        if self._last <= self._first:
            raise ValueError(f"only {self._records} of {self._count} records came")
        return {
            "rate": self._counted / (self._last - self._first),
            "first_s": self._first - self._began,
            "records": self._counted,
        }


class Members(Protocol):
    """Members of one group, in this process."""

    @abstractmethod
    def counts(self) -> list[int]:
        """How many partitions each has; also what keeps those going that have to be polled."""

    @abstractmethod
    async def leave(self) -> None:
        """Have one of them leave the group."""


class GroupClient(Protocol):
    """An open client."""

    @abstractmethod
    async def create(self, topic: str, *, partitions: int, replicas: int) -> None:
        """Make a topic, or what comes closest."""

    @abstractmethod
    async def read(self, topic: str, reading: Reading, *, group: str, way: str) -> None:
        """Read from the start until ``reading`` has enough; "" as ``group``: without one."""

    @abstractmethod
    def members(
        self, topic: str, *, group: str, count: int, way: str
    ) -> AbstractAsyncContextManager[Members]:
        """So many that join at once; all have left after."""

    @abstractmethod
    async def commit(self, topic: str, *, group: str, callers: int, deadline: float) -> list[float]:
        """Callers that each commit, wait until that is confirmed, and go on; milliseconds that each took.

        Where a caller has a group of its own, its name begins with ``group``.
        """

    @abstractmethod
    async def follow(self, topic: str, watch: Watch, *, group: str, way: str) -> None:
        """Write records, and read them in a group and commit, telling ``watch``, until cancelled."""

    @abstractmethod
    async def coordinator(self, topic: str, group: str) -> int:
        """The number (from 0) of the server that coordinates this group, once another can take its place."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""
