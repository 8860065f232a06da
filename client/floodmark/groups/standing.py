"""How one member of a group stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from floodmark.errors import FloodmarkError
from floodmark.groups.owned import Owned


class Standing:
    """What is read, kept and committed of one member share this. Only between two records, and by the loop of
    the program, is anything done about what has changed."""

    __slots__ = ("_wake", "beat", "failure", "is_changed", "is_closed", "is_fenced", "needs_pause", "owned")

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake``: called so that a loop that waits for records looks at this."""
        self._wake = wake
        self.owned: dict[tuple[int, int], Owned] = {}
        """What the program reads, by topic id and partition."""
        self.beat = asyncio.Event()
        """Set: the group is to be asked at once."""
        self.failure: FloodmarkError | None = None
        """What the loop is to end with."""
        self.is_fenced = False
        """Whether the group went on without this member."""
        self.is_changed = False
        """Whether there is anything to be done about."""
        self.needs_pause = False
        """Whether ``GroupConsumer.pause`` has something to do before the next record."""
        self.is_closed = False

    def call_attention(self) -> None:
        """Something is to be done before the next record."""
        self.is_changed = self.needs_pause = True
        self._wake()

    def fail(self, error: FloodmarkError) -> None:
        """The loop is to end with this, or with what came before."""
        self.failure = self.failure or error
        self.call_attention()

    def lose(self) -> None:
        """The group goes on without this member."""
        self.is_fenced = True
        self.call_attention()

    def drop(self) -> list[Owned]:
        """All partitions; nothing is read from now on."""
        owned, self.owned = list(self.owned.values()), {}
        return owned
