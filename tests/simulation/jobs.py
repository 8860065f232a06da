"""The host's other threads on virtual time: what a group wants to have done is done later, and told later.

Between the two, and between one job and the next, everything else may happen: a crash above all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from consensus.core.jobs import Job
from storage.errors import StorageError
from storage.state_file import BadState
from tests.simulation.flusher import TELL_S

if TYPE_CHECKING:
    from tests.simulation.host import Host


class Jobs:
    """Those of one life of a replica."""

    def __init__(self, replica: Host) -> None:
        self._replica = replica
        self._alone: deque[Job] = deque()
        """Those that wait until nothing else works on the log."""

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Begin with what the group has come to want, and with what the log is free for now."""
        replica = self._replica
        for job in jobs:
            if job.exclusive:
                self._alone.append(job)
            else:
                replica.later(replica.disk.duration() / 4, lambda job=job: self._run(job))  # type: ignore[misc]
        if self._alone and not replica.flusher.busy:
            replica.flusher.busy = True
            job = self._alone.popleft()
            replica.later(replica.disk.duration(), lambda: self._run(job))

    def _run(self, job: Job) -> None:
        result: object = None
        error: Exception | None = None
        try:
            result = job.work()
        except (OSError, StorageError, BadState) as raised:
            error = raised
        self._replica.later(TELL_S, lambda: self._tell(job, result, error))

    def _tell(self, job: Job, result: object, error: Exception | None) -> None:
        replica, group = self._replica, self._replica.group
        assert group is not None
        if job.exclusive:
            replica.flusher.busy = False

        def done() -> None:
            if group.job_done(job, result, error):
                replica.wake()

        replica.guarded(done)
