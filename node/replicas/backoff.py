"""How long a replica whose disk failed waits before it is opened again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 2.5
"""A disk that works again is noticed within this time, since a majority may be waiting for it. Replicas are
opened a few at a time, so that even a thousand that keep failing cost the node no more than that."""


class Backoff:
    """Per group: each failure doubles the wait, unless the one before is long past."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: dict[int, tuple[float, float]] = {}

    def failed(self, group: int) -> float:
        """Note a failure; returns how many seconds to wait."""
        now = self._clock()
        until, wait = self._waits.get(group, (0.0, 0.0))
        wait = min(LONGEST_S, 2 * wait) if wait and now - until < 2 * LONGEST_S else FIRST_S
        self._waits[group] = now + wait, wait
        return wait

    def forget(self, group: int) -> None:
        """The group is no longer here."""
        self._waits.pop(group, None)
