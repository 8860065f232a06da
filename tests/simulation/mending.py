"""What the host's mender does, on virtual time: what cannot be read is fetched and put in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.format.frame import Frame

from consensus.types import GroupStopped
from storage.errors import LogCorrupt, LogFailed, OutOfRange, StorageError
from storage.holes import Hole, Misfit
from storage.log_mending import Wound
from storage.mending import by_index

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.host import Host


class Mending:
    """At most one segment at a time, for one life of a replica."""

    def __init__(self, replica: Host, cluster: Cluster) -> None:
        self._replica = replica
        self._cluster = cluster
        self._busy = False

    def damaged(self, error: LogCorrupt) -> None:
        """A bad frame was met, or opening has passed over one."""
        if not self._busy:
            self._busy = True
            self._replica.later(self._replica.disk.duration(), lambda: self._look(error))

    def _look(self, error: LogCorrupt) -> None:
        log, group = self._replica.log, self._replica.group
        assert log is not None
        assert group is not None
        index = error.first_bad_index
        try:
            if index > group.applied_index:
                self._beyond(error)
                return
            log.seal(index)
            wound = log.wound(index)
            if wound.holes and wound.holes[-1].last > group.applied_index:
                self._beyond(error)
                return
            first = wound.holes[0].first if wound.holes else 0
            self._fetch(wound, list(wound.holes), first, {})
        except LogCorrupt as beyond:
            self._beyond(beyond)
        except OutOfRange:
            self._busy = False
        except StorageError as failure:
            self._fail(failure)

    def _fetch(self, wound: Wound, todo: list[Hole], first: int, frames: dict[int, Frame]) -> None:
        """Ask for what the first hole lacks from ``first`` on, then for the next one."""
        group = self._replica.group
        assert group is not None
        while todo and first > todo[0].last:
            todo.pop(0)
            first = todo[0].first if todo else 0
        if not todo:
            self._replica.later(self._replica.disk.duration(), lambda: self._take(wound, frames))
            return

        def came(found: list[Frame] | None) -> None:
            if found is None:
                error = LogCorrupt(
                    "nobody has it", path="-", position=0, first_bad_index=first, last_known_index=first
                )
                self._replica.later(0.0, lambda: self._beyond(error))
                return
            frames.update(by_index(found, first))
            self._replica.later(0.0, lambda: self._fetch(wound, todo, found[-1].last_index + 1, frames))

        try:
            group.fetch(first, todo[0].last).add_done_callback(came)
        except GroupStopped:
            return
        self._replica.wake()

    def _take(self, wound: Wound, frames: dict[int, Frame]) -> None:
        log = self._replica.log
        assert log is not None
        self._busy = False
        if not wound.holes:
            return
        try:
            log.take_mended(wound, log.prepare_mended(wound, frames))
            self._cluster.mended += 1
            self._replica.note(f"mended {[(hole.first, hole.last) for hole in wound.holes]}")
        except Misfit as wrong:
            self._fail(LogFailed(f"what peers sent does not fit: {wrong}"))
        except OutOfRange:
            return
        except OSError as error:
            self._fail(LogFailed(str(error)))
        except StorageError as error:
            self._fail(error)

    def _beyond(self, error: LogCorrupt) -> None:
        error.is_beyond_mending = True
        self._fail(error)

    def _fail(self, error: StorageError) -> None:
        group = self._replica.group
        assert group is not None
        self._replica.guarded(lambda: group.flush_failed(error))
