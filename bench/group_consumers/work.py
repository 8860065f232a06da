"""The work, identical for all, and the request for one measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from bench.peers.work import MANY_CALLERS, PARTITIONS, REPLICAS, Job

RECORD_BYTES: Final = 100
CALLERS: Final = (1, MANY_CALLERS)
SEND_EVERY_S: Final = 0.005
"""Between two records for a running consumer."""
COMMIT_EVERY_S: Final = 0.1
"""Between two of its commits."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it is done."""

    records: int = 500_000
    """To be read; writing them ends after twice ``seconds``, and so do turns of reading."""
    members: int = 100
    kills: int = 1
    """In each round, of the server that coordinates a running consumer's group."""
    rounds: int = 3
    seconds: float = 3.0
    """Bound of each reading, and of each row of commits."""
    minutes_max: float = 6.0
    """Nothing is begun after; one system's part of a round takes a minute and a half at most."""


@dataclass(frozen=True, slots=True)
class GroupJob(Job):
    """One request to a worker process.

    action   create, read, rebalance, commit or follow
    count    records, or members
    """

    package: ClassVar[str] = "bench.group_consumers"
    group: str = ""
    """"": without one."""
    partitions: int = PARTITIONS
    replicas: int = REPLICAS
