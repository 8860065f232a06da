"""What a group stores besides its log, when its host asks for it. These calls wait for the disk."""

from __future__ import annotations

from collections.abc import Callable

from consensus.core.checkpoint import Reference
from consensus.core.group_view import GroupView
from consensus.core.jobs import Job
from storage.errors import LogFailed, StorageError
from storage.failures import failure_of


class GroupDisk(GroupView):
    """Term and vote, checkpoints, and files of a large state."""

    _clock: Callable[[], float]
    _fail: Callable[[Exception], None]

    def save_vote(self) -> None:
        """Make term and vote durable while ``needs_vote_saved``; may run in a thread. Raises StorageError."""
        self._parts.journal.save_vote()

    def verify_vote(self) -> bool:
        """Whether both copies of the stored vote are whole; else it is written anew. Raises StorageError."""
        return self._core.vote.verify()

    def checkpoint(self) -> None:
        """Store where to go on after a restart, durably. Blocks on the disk."""
        self._parts.checkpoints.store()

    def checkpoint_state(self) -> bytes:
        """What ``checkpoint`` stores; for a host that calls ``log.checkpoint`` in a thread."""
        return self._parts.checkpoints.state()

    @property
    def is_large(self) -> bool:
        """Whether the machine keeps its state in files, which ``begin_checkpoint`` writes."""
        return self._parts.large is not None

    def begin_checkpoint(self) -> bool:
        """Begin to write the state into a new file, by jobs; whether there is anything to write."""
        large = self._parts.large
        if large is None or self.failed is not None or self._stopped:
            return False
        self._parts.begin(self._clock())
        return large.begin()

    def verify_state(self) -> tuple[Reference, str] | None:
        """Which state file cannot be read back, and why; None where it can. In a thread."""
        large = self._parts.large
        return None if large is None else large.verify()

    def distrust_state(self, reference: Reference, reason: str) -> None:
        """Have a state file that cannot be read replaced by one of what is in memory."""
        large = self._parts.large
        if large is not None and self.failed is None and not self._stopped:
            self._parts.begin(self._clock())
            large.distrust(reference, reason)

    @property
    def checkpoint_under_way(self) -> bool:
        """Whether ``begin_checkpoint`` has not ended."""
        large = self._parts.large
        return large is not None and large.under_way

    def checkpoint_is_due(self, *, rests: bool, bytes_max: int) -> bool:
        """Whether a new state file is worth its cost, of a group that rests, or whose log has grown by
        ``bytes_max`` or the size of the state."""
        large = self._parts.large
        self._parts.begin(self._clock())
        return large is not None and large.is_due(rests=rests, bytes_max=bytes_max)

    def compact(self, before_index: int | None = None) -> int:
        """Checkpoint, then drop whole segments of applied entries below ``before_index`` (None: all of them).

        Returns the log's new base index.
        """
        return self._parts.checkpoints.compact(before_index)

    @property
    def has_jobs(self) -> bool:
        """Whether ``take_jobs`` has any."""
        return bool(self._core.jobs)

    def take_jobs(self) -> list[Job]:
        """What is to be done in threads now; the host calls ``job_done`` after each."""
        jobs, self._core.jobs = self._core.jobs, []
        return jobs

    def job_done(self, job: Job, result: object, error: BaseException | None) -> bool:
        """A job has ended; more may be waiting now. Whether a step is due, or something to be said."""
        if self.failed is not None or self._stopped:
            return False
        self._parts.begin(self._clock())
        try:
            self._take_in(job, result, error)
        except StorageError as failure:
            self._fail(failure)
        except BaseException:
            self._fail(LogFailed("an unexpected error behind a job"))
            raise
        return job.exclusive or self.failed is not None or bool(self._core.outbox)

    def _take_in(self, job: Job, result: object, error: BaseException | None) -> None:
        if error is None:
            job.done(result)
        elif job.failed is not None:
            job.failed(error)
        elif isinstance(error, OSError):
            self._fail(failure_of(error, "writing the state"))
        else:
            self._fail(error if isinstance(error, StorageError) else LogFailed(f"a defect: {error!r}"))
