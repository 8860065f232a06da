"""How long to go on, and how long to wait between two tries."""

from __future__ import annotations

import random
import time
from typing import Final

_FIRST_DELAY_S: Final = 0.03
_LONGEST_DELAY_S: Final = 1.0


class Deadline:
    """A point in time by which something must have ended."""

    __slots__ = ("at", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at


class Backoff:
    """Delays that double up to a second, each with jitter so that many clients do not return at once."""

    __slots__ = ("_tries",)

    def __init__(self) -> None:
        self._tries = 0

    def reset(self) -> None:
        """After a success: the next delay is the shortest one again."""
        self._tries = 0

    def next_delay_s(self, hint_s: float | None = None) -> float:
        """How long to wait now: at least what the server asked for."""
        delay = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * (1 << min(self._tries, 10)))
        self._tries += 1
        return max(delay * random.uniform(0.5, 1.0), hint_s or 0.0)
