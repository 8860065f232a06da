"""What each node does for its own log meanwhile: checkpoints, retention, segments by age, scrubbing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from floodmark.format.frame import Frame

from node.partition.kept_entries import entries_to_keep
from storage.errors import LogCorrupt, OutOfRange, StorageError
from storage.log import Log
from storage.log_compacting import Compacted
from tests.simulation.machine import NEWER
from tests.support.compaction import bases, compactable, some

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica


class Housekeeping:
    """On one replica at a time, chosen at random: none of it is agreed upon with the others."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._rolling = cluster.rng("rolling")
        self._compacting = cluster.rng("compacting")
        self.actions: dict[str, Callable[[], None]] = {
            "checkpoint": self.checkpoint,
            "truncate_head": self.truncate_head,
            "scrub": self.scrub,
            "roll": self.roll,
        }
        """By the names that a profile gives their rates under."""

    def checkpoint(self) -> None:
        """Store the state, and let the next start scan from there."""
        replica = self._rng.choice(self._cluster.in_order())
        if replica.group is not None and not replica.paused:
            large = replica.group.storage.is_large
            replica.guarded(
                replica.group.storage.begin_checkpoint if large else replica.group.storage.checkpoint
            )

    def truncate_head(self) -> None:
        """Retention: on one replica alone, as clocks and restarts make it in reality."""
        replica = self._rng.choice(self._cluster.in_order())
        group = replica.group
        if group is not None and not replica.paused:
            before = group.applied_index - self._rng.randint(0, 40)
            replica.guarded(lambda: group.storage.compact(before))

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

    def compact(self) -> None:
        """One sealed segment of one replica loses entries, by the rule and at random. The copy is made at one
        moment and put into its place at another.
        """
        replica = self._compacting.choice(self._cluster.in_order())
        group, log = replica.group, replica.log
        if group is None or log is None or replica.paused or log.failed is not None:
            return
        if self._compacting.random() < 0.5:
            replica.guarded(group.storage.checkpoint)
            if replica.log is not log:
                return
        choice = compactable(log)
        if not choice:
            return
        index = self._compacting.choice(choice)
        try:
            prepared = self._prepare(log, index)
        except LogCorrupt as error:
            replica.mending.damaged(error)
        except (OutOfRange, OSError, StorageError):
            return  # A disk that fails now fails whoever writes to it next as well.
        else:
            if prepared is not None:
                replica.later(replica.disk.duration(), lambda: self._take(replica, prepared))

    def _prepare(self, log: Log, index: int) -> Compacted | None:
        end = next((base for base in bases(log) if base > index), log.last_index + 1) - 1
        share = self._compacting.choice((0.0, 0.3, 0.7))
        # The table knows nothing of commands of newer builds; they stay like any other command.
        frames = list(log.stored(index, end))
        newer = {frame.index for frame in frames if frame.payload.startswith(NEWER)}
        kept = newer | entries_to_keep(frame for frame in frames if frame.index not in newer)
        lucky = some(self._compacting, share)

        def keep(frame: Frame) -> bool:
            stays = lucky(frame) or frame.index in kept
            if not stays:
                removed = self._cluster.removed
                removed[frame.index] = max(removed.get(frame.index, 0), end)
            return stays

        return log.prepare_compacted(index, keep)

    def _take(self, replica: Replica, prepared: Compacted) -> None:
        log = replica.log
        if log is None or log.failed is not None:
            return

        def take() -> None:
            try:
                log.take_compacted(prepared)
            except OutOfRange:
                return
            self._cluster.compacted += 1
            self._cluster.note(replica.name, f"has compacted the segment of {prepared.segment.base_index}")

        replica.guarded(take)

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
