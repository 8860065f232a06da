"""The memory that answers to reads take: bounded as a whole, and shared so that nobody can hold all of it.

What counts is what a request holds: stored bytes that were read, what they were decompressed to, and what was
encoded and not yet sent to its client. A request that only waits holds nothing.

The less is left, the shorter pages get, which no reader minds; a refusal (429) is the last resort. A quarter
is kept for small answers, and once half is in use no party (a principal, or an address where nobody says who
it is) gets more than its share, an eighth or less: connections of one that do not read leave enough to all
others, and a little to their own.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from floodmark.errors import TooManyRequests

from node.budget import share_of

PAGE_BYTES_LEAST: Final = 16 << 10
"""Pages do not get shorter than this."""
SMALL_BYTES: Final = 64 << 10
"""The least that a request needs: a short page and what is read for it."""
NODE: Final = "node "
"""Before the id of a node that asks for its clients, however many they are. No user has such a name."""
_PART_OF_FREE: Final = 8
_RETRY_AFTER_S: Final = 1.0


class AnswerBudget:
    """``limit`` bytes for all answers of this node."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reserve = limit // 4
        self._share = limit // 8
        self._by_party: dict[str, int] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self.used = 0
        self.taken = 0
        """All bytes ever held, as a measure of the work done."""

    def hold(self, party: str) -> Hold:
        """What one request will hold, for a with-block: its end gives everything back."""
        return Hold(self, party)

    async def room(self) -> None:
        """Wait until something is given back. Only for those that hold nothing themselves."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def page_bytes(self, wanted: int) -> int:
        """How many bytes a page may have now, at most ``wanted``."""
        free = max(0, self._limit - self._reserve - self.used)
        return min(wanted, max(PAGE_BYTES_LEAST, free // _PART_OF_FREE))

    def fits(self, party: str, held: int, count: int) -> bool:
        """Whether a request of ``party`` that holds ``held`` bytes may have ``count`` more."""
        if self.used <= held:
            return True  # No other answer holds anything: a single one always fits.
        after = self.used + count
        if held + count <= SMALL_BYTES:
            return after <= self._limit
        if after > self._limit - self._reserve:
            return False
        if after <= self._limit // 2:
            return True
        of = self._by_party.get(party, 0)
        parties = 0 if party.startswith(NODE) else len(self._by_party) + (not of)
        return of + count <= share_of(self._limit, most=self._share, parties=parties)

    def move(self, party: str, count: int) -> None:
        """``party`` holds ``count`` bytes more, or fewer."""
        self.used += count
        if count > 0:
            self.taken += count
        left = self._by_party.get(party, 0) + count
        assert self.used >= 0 <= left, "more was given back than taken"
        if left:
            self._by_party[party] = left
        else:
            self._by_party.pop(party, None)
        if count < 0:
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)


class Hold:
    """What one request holds: the bytes in hand, or what is reserved for its page where that is more."""

    __slots__ = ("_budget", "_in_hand", "_party", "_set_aside")

    def __init__(self, budget: AnswerBudget, party: str) -> None:
        self._budget = budget
        self._party = party
        self._in_hand = 0
        self._set_aside = 0

    @property
    def held(self) -> int:
        """Bytes."""
        return max(self._in_hand, self._set_aside)

    def more(self, count: int) -> None:
        """Have ``count`` bytes more in hand. Raises ``TooManyRequests``."""
        self._change(self._in_hand + count, self._set_aside)

    def less(self, count: int) -> None:
        """Have ``count`` bytes less."""
        self._change(self._in_hand - count, self._set_aside)

    def set_page_aside(self, wanted: int) -> int:
        """Reserve room for a page of at most ``wanted`` bytes; returns how many.

        Raises ``TooManyRequests``.
        """
        count = self._budget.page_bytes(wanted)
        if not self._budget.fits(self._party, self.held, count):
            count = min(wanted, PAGE_BYTES_LEAST)
        self._change(self._in_hand, count)
        return count

    def page_is_made(self) -> None:
        """End the reservation: the bytes in hand are the page."""
        self._change(self._in_hand, 0)

    def nothing(self) -> None:
        """Give all back."""
        self._change(0, 0)

    def _change(self, in_hand: int, set_aside: int) -> None:
        held = self.held
        change = max(in_hand, set_aside) - held
        if change > 0 and not self._budget.fits(self._party, held, change):
            raise TooManyRequests(
                "too many bytes are on their way to slow consumers; try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        assert in_hand >= 0, "more was given back than taken"
        self._in_hand, self._set_aside = in_hand, set_aside
        if change:
            self._budget.move(self._party, change)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.nothing()
