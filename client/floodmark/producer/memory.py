"""A budget of bytes; callers that need more than is left wait in line."""

from __future__ import annotations

import asyncio
from collections import deque

from floodmark.errors import TransportError


class MemoryBudget:
    """At most ``limit`` bytes are held at a time; one larger piece is allowed when nothing else is held."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, count: int) -> bool:
        """Take ``count`` bytes now, if they are free and no caller is waiting."""
        used = self.used
        if self._waiting or (used and used + count > self.limit):
            return False
        self.used = used + count
        return True

    async def take(self, count: int, *, timeout_s: float | None) -> None:
        """Take ``count`` bytes, first come, first served. Raises ``TransportError`` when time is up."""
        if self.try_take(count):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (count, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give(count)
            elif entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            if isinstance(error, TimeoutError):
                raise TransportError(
                    f"no room for {count} more bytes within {timeout_s} s: {self.used} are on their way",
                    sent=False,
                ) from error
            raise

    def give(self, count: int) -> None:
        """Give ``count`` bytes back."""
        self.used -= count
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            count, turn = self._waiting.popleft()
            if not turn.done():
                self.used += count
                turn.set_result(None)

    def _fits(self, count: int) -> bool:
        return self.used == 0 or self.used + count <= self.limit
