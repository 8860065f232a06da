"""Reads what is stored, slowly and again and again: damage shows while other replicas can still mend it.

A start reads only what is behind the checkpoint, and consumers rarely read old records. A frame that fails
its checksum fails its replica, which then is repaired from the others as after a start that finds damage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from floodmark.errors import Unavailable

from consensus.host import GroupHost

SLICE_BYTES: Final = 256 << 10
"""Read at once, while nothing else is done to the replica's log."""
BYTES_PER_S: Final = 32 << 20
REST: Final = 19.0
"""How much longer it rests than it works: at most a twentieth of a core."""


class Scrub:
    """One task for all replicas of a node; ``groups`` are those that run now."""

    def __init__(self, *, host: GroupHost, groups: Callable[[], Iterable[int]], interval_s: float) -> None:
        self._host = host
        self._groups = groups
        self._interval_s = interval_s

    async def run(self) -> None:
        """Go through all of them, rest, and begin again, until cancelled."""
        while True:
            for group in sorted(self._groups()):
                await self.read_through(group)
            await asyncio.sleep(self._interval_s)

    async def read_through(self, group: int) -> None:
        """All that is applied of one replica when this begins; ends early where the replica does."""
        loop = asyncio.get_running_loop()
        index = 0
        while True:
            began = loop.time()
            try:
                following = await self._host.verify(group, index, max_bytes=SLICE_BYTES)
            except Unavailable:
                return
            if following == index:
                return
            index = following
            await asyncio.sleep(max(REST * (loop.time() - began), SLICE_BYTES / BYTES_PER_S))
