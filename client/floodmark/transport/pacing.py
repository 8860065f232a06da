"""How long to go on, and how long to wait between two tries."""

from __future__ import annotations

import random
import time
from typing import Final

from floodmark.errors import FloodmarkError, OutcomeUnknown

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


def jittered_delay_s(tries: int, *, first_s: float, longest_s: float) -> float:
    """How long to wait after so many tries: each time twice as long, up to a limit, or up to half less."""
    ceiling = min(longest_s, first_s * (1 << min(tries, 10)))
    return random.uniform(ceiling / 2, ceiling)


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
        delay_s = jittered_delay_s(self._tries, first_s=_FIRST_DELAY_S, longest_s=_LONGEST_DELAY_S)
        self._tries += 1
        return max(delay_s, hint_s or 0.0)


def may_pass(error: FloodmarkError) -> bool:
    """Whether to ask again, of requests that do no more when they are done twice: also where it may have been
    done."""
    return error.retriable or isinstance(error, OutcomeUnknown)
