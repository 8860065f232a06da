"""The work, identical for all systems, and the request for one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from bench.peers.work import Job, Outcome

RECORD_BYTES: Final = 100
KEYS: Final = 1_000
"""So many different keys the records have."""
LIST: Final = 1_000
BATCHES: Final = (1, 100)
WORKERS: Final = (1, 16, 64)
AT_ONCE: Final = (16, 64)
"""What one program has in hand at once, taken by one loop and acknowledged one by one."""
PROGRAM: Final = "program"
APART: Final = "apart"
"""Receive, then acknowledge, and wait for both answers."""
TOGETHER: Final = "together"
"""One request acknowledges what the one before brought, and receives the next."""
WAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "floodmark": (TOGETHER, APART),
    "nats": (APART,),
    "redis": (TOGETHER, APART),
}
"""system -> what its client offers; ratios compare the best of each."""
ORDERS: Final[Mapping[str, tuple[bool, ...]]] = {
    "floodmark": (False, True),
    "nats": (False,),
    "redis": (False,),
}
"""system -> without and with order by key; only Floodmark has that."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it is done. ``fill``: records that are there to be worked off, by the size of a batch."""

    seconds: float
    rounds: int
    fill: Mapping[int, int]
    delayed: int


FULL: Final = Scale(seconds=3.0, rounds=3, fill={1: 15_000, 100: 120_000}, delayed=1_000_000)
QUICK: Final = Scale(seconds=1.0, rounds=1, fill={1: 1_000, 100: 10_000}, delayed=20_000)


@dataclass(frozen=True, slots=True)
class QueueJob(Job):
    """One request to a worker process. The queue is called as its topic is.

    action   create, fill, work, program or look
    callers  workers, or what one program has in hand at once
    """

    package: ClassVar[str] = "bench.queues"
    besides_s: ClassVar[float] = 180.0
    by_key: bool = False
    batch: int = 1
    deliver_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class QueueOutcome(Outcome):
    """The answer of a worker process. ``first_ms``, ``ended_ms``: when the first record was done with, and
    the last, since the Unix epoch. ``delayed``: how many records the queue knows to be for later."""

    first_ms: int | None = None
    ended_ms: int = 0
    delayed: int = 0
