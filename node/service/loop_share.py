"""How much of one kind of work is done in one turn of the event loop.

Two hundred clients that send a megabyte each are all ready at once, and a hundred that read a page. A turn in
which all of that is done takes a tenth of a second and more, and whoever asks for little waits for several
turns, here and at the leader. So the work is done in pieces, and each piece waits until there is room in a
turn: of bodies the rest stays in the network meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

BODY_TURN_BYTES: Final = 1 << 20
"""Of bodies that come in; takes a few milliseconds with all that is done with them."""
BODY_SMALL_BYTES: Final = 64 << 10
"""Bodies up to this size wait for nobody."""
BODY_PIECE_BYTES: Final = 256 << 10
"""The most that comes at once where aiohttp reads."""
PAGE_TURN_BYTES: Final = 128 << 10
"""Of stored records that are translated for answers; takes a few milliseconds."""


class LoopShare:
    """``limit`` bytes a turn, and one piece more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers = itertools.count()
        self._taken = 0
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        """A heap, by number."""
        self._is_due = False

    def number(self) -> int:
        """A place behind all that have theirs; pieces with the same number come one after the other."""
        return next(self._numbers)

    def ask(self, number: int, size: int, go_on: Callable[[], object]) -> bool:
        """Whether a piece of about ``size`` bytes may be done in this turn.

        If not, ``go_on`` is called in the turn in which it may, also if nobody waits for that any more.
        """
        if self._has_room(size):
            return True
        heapq.heappush(self._waiting, (number, size, go_on))
        return False

    async def wait(self, size: int, number: int | None = None) -> None:
        """Until a piece of about ``size`` bytes may be done."""
        if self._has_room(size):
            return
        may: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def go_on() -> None:
            if not may.done():
                may.set_result(None)

        heapq.heappush(self._waiting, (self.number() if number is None else number, size, go_on))
        await may

    def _has_room(self, size: int) -> bool:
        """Take the room that this turn has left, if nobody waits for it."""
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
