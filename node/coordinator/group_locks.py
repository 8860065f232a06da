"""Locks of groups, by name: exclusive for what changes who belongs to a group, shared for what only goes by
that. First come, first served, so that a stream of commits never starves a join. A lock that nobody holds or
waits for does not exist.
"""

from __future__ import annotations

import asyncio
from collections import deque


class _Lock:
    __slots__ = ("holders", "is_exclusive", "waiting")

    def __init__(self) -> None:
        self.holders = 0
        self.is_exclusive = False
        self.waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    def admits(self, *, exclusive: bool) -> bool:
        return self.holders == 0 or not (exclusive or self.is_exclusive)

    def take(self, *, exclusive: bool) -> None:
        self.holders += 1
        self.is_exclusive = exclusive


class GroupLocks:
    """Those of one leadership: ``fail`` ends them all."""

    def __init__(self) -> None:
        self._locks: dict[str, _Lock] = {}
        self._failure: Exception | None = None

    def __len__(self) -> int:
        return len(self._locks)

    async def acquire(self, name: str, *, exclusive: bool) -> None:
        """Wait for the lock; whoever got it calls ``release``. Raises what ``fail`` was given.

        A caller that is cancelled meanwhile does not have it.
        """
        if self._failure is not None:
            raise self._failure
        lock = self._locks.setdefault(name, _Lock())
        if not lock.waiting and lock.admits(exclusive=exclusive):
            lock.take(exclusive=exclusive)
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lock.waiting.append((mine, exclusive))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                if mine.exception() is None:
                    self.release(name)  # It was given in the turn in which the caller was cancelled.
            else:
                mine.cancel()
                self._next(name, lock)  # Behind it may be one that is admitted as things are.
            raise

    def release(self, name: str) -> None:
        """Let the next ones have it."""
        lock = self._locks[name]
        lock.holders -= 1
        self._next(name, lock)

    def fail(self, error: Exception) -> None:
        """Nobody gets a lock any more: who waits is told this, and who comes later. Holders still release."""
        self._failure = error
        for lock in self._locks.values():
            for waits, _ in lock.waiting:
                if not waits.done():
                    waits.set_exception(error)
            lock.waiting.clear()

    def _next(self, name: str, lock: _Lock) -> None:
        while lock.waiting and lock.admits(exclusive=lock.waiting[0][1]):
            waits, exclusive = lock.waiting.popleft()
            if not waits.done():
                lock.take(exclusive=exclusive)
                waits.set_result(None)
        if lock.holders == 0 and not lock.waiting and self._locks.get(name) is lock:
            del self._locks[name]  # Else another one has come since, for somebody else.
