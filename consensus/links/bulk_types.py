"""What the two roles of a bulk connection share with their users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from consensus.links.bulk_packets import Outcome

REQUESTS_MAX: Final = 4096
"""Of one side that have no answer yet, on one connection."""
SERVED_BYTES_MAX: Final = 256 << 20
"""Of requests of all peers together that are here, unless the owner says otherwise."""


class Unreached(Exception):
    """The request did not get there, or was not begun: nothing was done."""


class Overloaded(Unreached):
    """Too many requests wait for that node's answers."""


class Unanswered(Exception):
    """The request got there, and no answer came: it may have been done."""


class Answer(NamedTuple):
    """``outcome`` is ``DONE`` or ``FAILED``."""

    outcome: Outcome
    envelope: bytes
    raw: bytes


class Served(NamedTuple):
    """What a handler answers. ``release`` is called once: when it has left, or is of no use any more."""

    failed: bool
    envelope: bytes
    raw: bytes = b""
    release: Callable[[], None] = lambda: None


Room = Callable[[int, int], None]
"""Told the sizes of an answer's envelope and raw bytes before they are held; may raise."""


def any_size(_envelope_bytes: int, _raw_bytes: int) -> None:
    """There is room."""


Serve = Callable[[str, bytes, bytes, float], Awaitable[Served]]
"""(peer, envelope, raw bytes, seconds that an answer is of use). Cancelled when the answer is of no use."""


class ServedBudget:
    """Bytes of requests that are here, of all peers: what arrives, and what handlers have in hand."""

    def __init__(self, limit: int = SERVED_BYTES_MAX) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        """Whether there is room for so many more, which are taken then. One request alone always fits."""
        if self.used and self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give_back(self, count: int) -> None:
        """So many are gone."""
        self.used -= count
        assert self.used >= 0, "more was given back than taken"
