"""How fast a node sends to replicas that are behind and do not vote, all its groups together.

A voter is not held back, unless it has lost its data: what it lacks may be all that a commit waits for. Nor
is a learner that has everything and only gets what is new. All others stand in one queue for the node's
bytes, a message at a time: each is told when its turn is, and is not woken before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consensus.core.core import Core

MESSAGE_BYTES: Final = 256 << 10
"""Entries in one message to a replica that is behind, where one entry alone is not larger."""
BURST_MESSAGES: Final = 4
"""How many may leave at once after a while in which none did."""


class CatchUp:
    """One node's limit. ``bytes_per_s`` 0: none."""

    def __init__(self, bytes_per_s: float = 0.0, *, message_bytes: int = MESSAGE_BYTES) -> None:
        self.bytes_per_s = bytes_per_s
        self.message_bytes = message_bytes
        self.sent_bytes = 0
        """Since the process began."""
        self._free_at = -math.inf
        """When all that has a turn will have left at that rate."""

    def turn(self, now: float) -> float:
        """When the next message may leave; at once where that is not after ``now``."""
        if not self.bytes_per_s:
            return now
        message_s = self.message_bytes / self.bytes_per_s
        at = max(self._free_at, now - BURST_MESSAGES * message_s)
        self._free_at = at + message_s
        return at

    def sent(self, size: int) -> None:
        """It left with so many bytes."""
        self.sent_bytes += size
        if self.bytes_per_s:
            self._free_at += (size - self.message_bytes) / self.bytes_per_s


class Turns:
    """One group's replicas in that queue."""

    def __init__(self, core: Core, catch_up: CatchUp) -> None:
        self._core = core
        self._catch_up = catch_up
        self.given: dict[str, float] = {}
        """Those that wait for their turn, or have it: when it is."""
        self.message_bytes = catch_up.message_bytes
        self.deadline = math.inf
        """When the next of those comes that had to wait since ``look``."""

    def begin(self) -> None:
        """A new leadership."""
        self.given.clear()
        self.deadline = math.inf

    def look(self) -> None:
        """All are about to ask again."""
        self.deadline = math.inf

    def have_come(self, name: str) -> bool:
        """Whether a message to a replica that is behind may leave now; ``sent`` is called when it does."""
        now = self._core.now
        turn = self.given.get(name)
        if turn is None:
            turn = self.given[name] = self._catch_up.turn(now)
        if turn > now:
            self.deadline = min(self.deadline, turn)
            return False
        return True

    def sent(self, name: str, size: int) -> None:
        """It left."""
        if self.given.pop(name, None) is not None:
            self._catch_up.sent(size)
