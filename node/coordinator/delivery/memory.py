"""The memory in which queues keep records that they have read and not delivered yet: bounded as a whole."""

from __future__ import annotations

from typing import Final

QUEUE_BYTES_MAX: Final = 4 << 20
"""Of one queue."""
NODE_BYTES_MAX: Final = 64 << 20
"""Of all queues whose shards a node leads. Beyond it a queue reads only while it holds nothing."""


class Memory:
    """One per node."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = NODE_BYTES_MAX) -> None:
        self.limit = limit
        self.used = 0


class Share:
    """What one queue holds of it."""

    __slots__ = ("_memory", "held", "limit")

    def __init__(self, memory: Memory, limit: int = QUEUE_BYTES_MAX) -> None:
        self._memory = memory
        self.limit = limit
        self.held = 0

    @property
    def has_room(self) -> bool:
        """Whether more may be read. Whoever holds nothing may always read one chunk, so nobody starves."""
        memory = self._memory
        return self.held == 0 or (self.held < self.limit and memory.used < memory.limit)

    def take(self, count: int) -> None:
        """It holds so many bytes more, or fewer."""
        self.held += count
        self._memory.used += count
        assert self.held >= 0 <= self._memory.used, "more was given back than taken"

    def free(self) -> None:
        """It holds nothing any more."""
        self.take(-self.held)
