"""The host's disk thread on virtual time: write, sync and tell the group, at three different moments.

A vote is saved in one moment and told in another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from storage.errors import StorageError
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.host import Host

T = TypeVar("T")

TELL_S = 0.0002
"""From the end of a sync until the group's thread hears of it; the log may have been cut meanwhile."""


class Flusher:
    """At most one flush at a time, for one life of a replica."""

    def __init__(self, replica: Host, cluster: Cluster) -> None:
        self._replica = replica
        self._cluster = cluster
        self.busy = False
        """Something works on the log."""

    def start(self) -> None:
        """Begin to save the vote, else to flush, unless either is under way."""
        replica = self._replica
        assert replica.group is not None
        if not self.busy:
            self.busy = True
            if replica.group.needs_vote_saved:
                replica.later(replica.disk.duration(), self._save_vote)
            else:
                replica.later(replica.disk.duration() / 4, self._write)

    def _save_vote(self) -> None:
        group = self._replica.group
        assert group is not None
        self._attempt(group.save_vote, lambda _: self._replica.later(TELL_S, self._tell_vote))

    def _write(self) -> None:
        log, disk = self._replica.log, self._replica.disk
        assert log is not None
        self._attempt(log.write, lambda _: self._replica.later(disk.duration(), self._sync))

    def _sync(self) -> None:
        log = self._replica.log
        assert log is not None
        self._attempt(log.sync, lambda durable: self._replica.later(TELL_S, lambda: self._tell(durable)))

    def _attempt(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """What fails in the disk thread is handed to the group as well."""
        try:
            result = call()
        except StorageError as error:
            failure = error
            self._replica.later(TELL_S, lambda: self._fail(failure))
            return
        then(result)

    def _tell_vote(self) -> None:
        assert self._replica.group is not None
        self.busy = False
        self._replica.group.vote_saved()
        self._replica.jobs.start()
        self._replica.wake()

    def _tell(self, durable: int) -> None:
        assert self._replica.group is not None
        self.busy = False
        self._replica.jobs.start()
        if self._replica.group.flushed(durable):
            self._replica.wake()

    def _fail(self, error: StorageError) -> None:
        replica, group = self._replica, self._replica.group
        assert group is not None
        replica.guarded(lambda: group.flush_failed(error))
        require(replica.group is not group, "a failed flush stops the replica", f"{replica.name}: {error}")
