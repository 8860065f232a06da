"""What the queues that a node leads share."""

from __future__ import annotations

import random
from collections.abc import Callable

from node.coordinator.delivery.memory import Memory
from node.coordinator.delivery.ports import DeadLetterTarget, RecordSource

_NUMBER_BITS = 63


class QueuesAround:
    """One per node. ``records`` and ``letters`` are set before anything is led.

    ``wall_ms``: by which times of day are judged.
    """

    records: RecordSource
    letters: DeadLetterTarget

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.wall_ms = wall_ms
        self.memory = Memory()
        self._random = random.SystemRandom()

    def number(self) -> int:
        """One that nobody guesses: of a lease, or a queue. Never 0."""
        return self._random.getrandbits(_NUMBER_BITS) or 1
