"""Keeps a producer's batches in the order of their arrival, although some are decoded elsewhere.

A node takes a producer's batches in the order of their numbers only, so one that overtook another on the way
through here would be refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Whoever has a name waits for those of the same name who came before."""

    def __init__(self) -> None:
        self._last: dict[Hashable, asyncio.Future[None]] = {}

    def is_waited_for(self, name: Hashable) -> bool:
        """Whether somebody of that name has not had its turn yet."""
        return name in self._last

    async def take(self, name: Hashable, work: Awaitable[T]) -> T:
        """The result of ``work``, which begins at once, when all before have theirs.

        What the caller does with it before it waits again is done in turn.
        """
        before = self._last.get(name)
        mine = self._last[name] = asyncio.get_running_loop().create_future()
        try:
            result = await work
            if before is not None:
                await asyncio.wait([before])
            return result
        finally:
            if self._last[name] is mine:
                del self._last[name]
            self._after(before, mine)

    def _after(self, before: asyncio.Future[None] | None, mine: asyncio.Future[None]) -> None:
        """Whoever gives up does not let others pass those before it."""
        if before is None or before.done():
            mine.set_result(None)
        else:
            before.add_done_callback(lambda _: mine.set_result(None))
