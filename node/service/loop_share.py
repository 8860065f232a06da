"""How much of one kind of work is done in one turn of the event loop.

Two hundred clients that each send a megabyte, or a hundred that each read a page, are all ready at once. A
turn that does all of that takes a tenth of a second or more, and small requests wait for several turns, here
and at the leader. So the work is done in pieces, and each piece waits until there is room in a turn; the rest
of a body stays in the network meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

BODY_TURN_BYTES: Final = 1 << 20
"""Request bodies per turn; processing them takes a few milliseconds."""
BODY_SMALL_BYTES: Final = 64 << 10
"""Bodies up to this size never wait."""
BODY_PIECE_BYTES: Final = 256 << 10
"""The most that aiohttp reads at once."""
PAGE_TURN_BYTES: Final = 128 << 10
"""Stored records translated for answers, per turn; takes a few milliseconds."""


class LoopShare:
    """At most ``limit`` bytes per turn, plus one piece."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers = itertools.count()
        self._taken = 0
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        """A heap, by number."""
        self._is_due = False

    def number(self) -> int:
        """A place in the queue, behind all others; pieces with the same number follow each other."""
        return next(self._numbers)

    def ask(self, number: int, size: int, go_on: Callable[[], object]) -> bool:
        """Whether a piece of about ``size`` bytes may be done in this turn.

        If not, ``go_on`` is called in the turn in which it may, even if nobody waits for it any longer.
        """
        if self._has_room(size):
            return True
        heapq.heappush(self._waiting, (number, size, go_on))
        return False

    async def wait(self, size: int, number: int | None = None) -> None:
        """Wait until a piece of about ``size`` bytes may be done."""
        if self._has_room(size):
            return
        may: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def go_on() -> None:
            if not may.done():
                may.set_result(None)

        heapq.heappush(self._waiting, (self.number() if number is None else number, size, go_on))
        await may

    def _has_room(self, size: int) -> bool:
        """Take room from this turn, if it has any left and nobody waits for it."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._waiting or self._taken >= self._limit:
            return False
        self._taken += size
        return True

    def _next_turn(self) -> None:
        self._taken = 0
        while self._waiting and self._taken < self._limit:
            _, size, go_on = heapq.heappop(self._waiting)
            self._taken += size
            go_on()
        self._is_due = self._taken > 0
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._next_turn)
