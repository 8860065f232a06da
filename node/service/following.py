"""Follows a topic: rounds of reading, and waiting where a round brings nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from floodmark.errors import TooManyRequests, Unavailable

from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice

if TYPE_CHECKING:
    from node.service.service import Service

_PAUSE_S: Final = 0.05
"""Between two looks at partitions that have no leader."""


class Following:
    """Everything from the reader's positions on; without ``follow`` only up to what is there at first.

    ``wait_s``: how long one that does not follow may still wait for its first record.
    """

    def __init__(self, service: Service, reader: TopicReader, *, follow: bool, wait_s: float) -> None:
        self._service = service
        self._reader = reader
        self._follow = follow
        self._wait_s = 0.0 if follow else wait_s
        if not follow:
            reader.ends = {}
        self._begin()

    def _begin(self) -> None:
        self._reader.begin(max_bytes=self._service.limits.stream_bytes)

    async def next(self) -> Slice | None:
        """The next slice of what is there; None where that is all. Raises as ``TopicReader.next``."""
        while True:
            try:
                part = await self._reader.next()
            except TooManyRequests:
                self._reader.let_go()
                await self._service.answers.room()
                self._begin()
                continue
            except Unavailable:
                if not self._follow and self._wait_s <= 0:
                    raise
                await asyncio.sleep(_PAUSE_S)
                return None
            if part is not None or not self._reader.took:
                return part
            self._begin()

    async def slices(self, part: Slice | None, *, pause_s: float) -> AsyncGenerator[Slice | None, None]:
        """``part`` and all behind it; None where nothing came for ``pause_s``. Ends when this node stops.

        Whoever takes a slice tells the reader how far that was (``move``) before the next one.
        """
        service, reader = self._service, self._reader
        while not service.draining.is_set():
            if part is not None:
                self._wait_s = 0.0
                yield part
            elif self._follow:
                reader.let_go()
                if not await service.unless_draining(reader.wait(pause_s)):
                    yield None
                self._begin()
            elif self._wait_s > 0:
                reader.let_go()
                await service.unless_draining(reader.wait(self._wait_s))
                self._wait_s = 0.0
                reader.ends = {}
                self._begin()
            else:
                return
            part = await self.next()
