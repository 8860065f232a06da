"""Gives back what a burst has left behind.

To keep freed memory makes reads much faster (``allocator``), so a node that is busy keeps it. One that has
grown, and then had next to nothing in hand for some seconds, returns to the kernel what is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from node import allocator

LOOK_EVERY_S: Final = 1.0
QUIET_LOOKS: Final = 5
"""So many looks in a row found next to nothing in hand."""
QUIET_BYTES: Final = 1 << 20
GROWN_BYTES: Final = 96 << 20
"""By so much a process has to have grown since it last gave memory back; to do so costs some milliseconds."""

_log = structlog.get_logger(__name__)


class SpareMemory:
    """One task. ``in_hand``: bytes of requests and answers now; ``served``: of answers since the start."""

    def __init__(
        self,
        *,
        in_hand: Callable[[], int],
        served: Callable[[], int],
        resident: Callable[[], int] = allocator.resident_bytes,
        give_back: Callable[[], object] = allocator.give_back,
    ) -> None:
        self._in_hand = in_hand
        self._served = served
        self._resident = resident
        self._give_back = give_back
        self._quiet = 0
        self._served_before = 0
        self._kept = resident()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.is_due():
                before = self._resident()
                await asyncio.to_thread(self._give_back)
                self._kept = self._resident()
                _log.debug("memory_given_back", before=before, after=self._kept)

    def is_due(self) -> bool:
        """One look."""
        served = self._served()
        busy = self._in_hand() > QUIET_BYTES or served - self._served_before > QUIET_BYTES
        self._served_before = served
        self._quiet = 0 if busy else self._quiet + 1
        if self._quiet < QUIET_LOOKS:
            return False
        self._quiet = 0
        resident = self._resident()
        # What shrank by itself may grow as much again.
        self._kept = min(self._kept, resident)
        return resident - self._kept >= GROWN_BYTES
