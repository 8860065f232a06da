"""The work, identical for all: payloads, counts and time bounds, and the request for one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

PARTITIONS = 3
REPLICAS = 3
MANY_CALLERS = 64
FLOOD_RECORDS_MAX = {100: 1_000_000, 1024: 200_000}
"""Batched writing ends after this many records, or when its time is over. These are then read back."""
PACED_SIZE = 1024
PACED_TICK_S = 0.001
PACED_LEAD_IN_S = 1.0
"""Records of this time come first and are not counted: connections are made, leaders become known."""
PACED_RATES = (10_000, 5_000, 2_000, 1_000, 500)
"""Records a second; the next one is tried when a system cannot keep up."""
PACED_LATE_MS_MAX = 500.0
"""A system keeps up when all records arrive and 99 % of them within this time: a backlog grows past it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it is done."""

    sizes: tuple[int, ...]
    seconds: float
    """Bound of each measurement."""
    rounds: int
    minutes_max: float


FULL = Scale(sizes=(1024, 100), seconds=3.0, rounds=3, minutes_max=40.0)
QUICK = Scale(sizes=(1024,), seconds=1.0, rounds=1, minutes_max=8.0)


@dataclass(frozen=True, slots=True)
class Job:
    """One request to a worker process."""

    package: ClassVar[str] = "bench.peers"
    """Where ``worker.py`` is that does it, and ``clients/``."""
    besides_s: ClassVar[float] = 120.0
    """What a worker may take besides its own time bound: to connect, to settle what is under way."""
    system: str
    action: str
    """create, waiting, flood, read, pace or follow: the methods of clients/protocol.py."""
    topic: str
    addresses: list[str]
    options: Mapping[str, str] = field(default_factory=dict)
    way: str = ""
    """Which of the ways that the client offers; "" where there is only one."""
    size: int = 1024
    callers: int = 1
    count: int = 0
    seconds: float = 1.0
    lead_in_s: float = 0.3
    """Waiting callers do this for so long before the clock runs: connections are made, leaders known."""
    rate: int = 0

    def to(self, action: str, topic: str, **more: Any) -> Self:
        """The same with this and other fields."""
        return replace(self, action=action, topic=topic, **more)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"options": dict(self.options)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a worker process."""

    records: int = 0
    seconds: float = 0.0
    client_cpu_s: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
