"""What the queues that a node leads share."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from typing import Final

from node.coordinator.delivery.memory import Memory
from node.coordinator.delivery.ports import DeadLetterTarget, RecordSource

_NUMBERS: Final = struct.Struct("256Q")
"""So many are asked of the operating system at once."""


class QueuesAround:
    """One per node. ``records`` and ``letters`` are set before anything is led.

    ``wall_ms``: by which times of day are judged.
    """

    records: RecordSource
    letters: DeadLetterTarget

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.wall_ms = wall_ms
        self.memory = Memory()
        self.reading = asyncio.Lock()
        """Of who reads the state of a queue that takes several pieces: one of them in each turn."""
        self._numbers: list[int] = []

    def number(self) -> int:
        """One that nobody guesses: of a lease, or a queue. Never 0, and not above 63 bits."""
        if not self._numbers:
            self._numbers += [each >> 1 or 1 for each in _NUMBERS.unpack(os.urandom(_NUMBERS.size))]
        return self._numbers.pop()
