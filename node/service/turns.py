"""Keeps a producer's batches in their order of arrival, although some are decoded in other processes.

A leader accepts a producer's batches in the order of their sequences only: one that overtook another here
would be refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Work under one name finishes in the order in which it came."""

    def __init__(self) -> None:
        self._last: dict[Hashable, asyncio.Future[None]] = {}

    def is_waited_for(self, name: Hashable) -> bool:
        """Whether work under that name is still unfinished."""
        return name in self._last

    async def take(self, name: Hashable, work: Awaitable[T]) -> T:
        """The result of ``work``, which begins at once, returned after all earlier ones.

        What the caller does with it before its next await happens in order too.
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
        """A cancelled one must not let later ones pass earlier ones."""
        if before is None or before.done():
            mine.set_result(None)
        else:
            before.add_done_callback(lambda _: mine.set_result(None))
