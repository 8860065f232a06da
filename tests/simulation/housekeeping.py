"""What each node does for its own log meanwhile: checkpoints, retention, segments by age, scrubbing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from storage.errors import LogCorrupt, StorageError

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster


class Housekeeping:
    """On one replica at a time, chosen at random: none of it is agreed upon with the others."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._rolling = cluster.rng("rolling")
        self.actions: dict[str, Callable[[], None]] = {
            "checkpoint": self.checkpoint,
            "trim": self.trim,
            "scrub": self.scrub,
            "roll": self.roll,
        }
        """By the names that a profile gives their rates under."""

    def checkpoint(self) -> None:
        """Store the state, and let the next start scan from there."""
        replica = self._rng.choice(self._cluster.in_order())
        if replica.group is not None and not replica.paused:
            large = replica.group.is_large
            replica.guarded(replica.group.begin_checkpoint if large else replica.group.checkpoint)

    def trim(self) -> None:
        """Retention: on one replica alone, as clocks and restarts make it in reality."""
        replica = self._rng.choice(self._cluster.in_order())
        group = replica.group
        if group is not None and not replica.paused:
            before = group.applied_index - self._rng.randint(0, 40)
            replica.guarded(lambda: group.compact(before))

    def roll(self) -> None:
        """Segments by age: each replica for itself, by what is on its own disk and when it looks."""
        replica = self._rolling.choice(self._cluster.in_order())
        group, log = replica.group, replica.log
        if group is None or log is None or replica.paused or log.failed is not None:
            return
        now_ms, roll_ms = int(self._cluster.scheduler.now * 1000), self._rolling.choice((0, 100, 1000))

        def begin() -> None:
            if log.roll(now_ms=now_ms, roll_ms=roll_ms):
                self._cluster.note(replica.name, f"begins a segment by age at {log.last_index + 1}")

        replica.guarded(begin)

    def scrub(self) -> None:
        """All that a replica has applied is read back from its disk."""
        replica = self._rng.choice(self._cluster.in_order())
        group, log = replica.group, replica.log
        if group is None or log is None or replica.paused or log.failed is not None:
            return
        try:
            for _ in log.stored(log.base_index, min(group.applied_index, log.written_index)):
                pass
        except LogCorrupt as error:
            replica.mending.damaged(error)
        except StorageError as error:
            failure = error
            replica.guarded(lambda: group.flush_failed(failure))
