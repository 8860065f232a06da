"""The work, identical for all systems, and the request for one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

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
class Job:
    """One request to a worker process."""

    system: str
    action: str
    """create, fill, work, program, look: see ``worker.py``."""
    queue: str
    addresses: list[str]
    way: str = APART
    by_key: bool = False
    batch: int = 1
    workers: int = 1
    """Or what one program has in hand at once."""
    count: int = 0
    seconds: float = 1.0
    """Bound of the measurement."""
    deliver_at_ms: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"options": dict(self.options)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a worker process. ``first_ms``, ``ended_ms``: when the first record was done with, and
    the last, since the Unix epoch."""

    records: int = 0
    seconds: float = 0.0
    client_cpu_s: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_ms: int | None = None
    ended_ms: int = 0
    delayed: int = 0
