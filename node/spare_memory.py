"""Returns memory that a burst has left behind to the kernel.

Keeping freed memory makes reads much faster (``allocator``), so a busy node keeps it. A node that has grown,
and then held next to nothing for some seconds, returns what is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from node import allocator

LOOK_EVERY_S: Final = 1.0
QUIET_LOOKS: Final = 5
"""How many checks in a row must find next to nothing held."""
QUIET_BYTES: Final = 1 << 20
GROWN_BYTES: Final = 96 << 20
"""How much the process must have grown since it last returned memory, which costs some milliseconds."""

_log = structlog.get_logger(__name__)


class SpareMemory:
    """One task. ``in_hand``: bytes held for requests and answers now; ``served``: bytes answered so far."""

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
        """Check repeatedly, until cancelled."""
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
        # Measure growth from the lowest size.
        self._kept = min(self._kept, resident)
        return resident - self._kept >= GROWN_BYTES
