"""What a group wants to have done in a thread, one bounded piece at a time; the group goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storage.errors import LogFailed, StorageError
from storage.failures import failure_of


@dataclass(slots=True, eq=False)
class Job:
    """The host runs ``work`` in any thread, then hands what came of it to ``Group.job_done``.

    An ``exclusive`` one works on the group's log: nothing else does meanwhile.
    """

    work: Callable[[], Any]
    done: Callable[[Any], None]
    """Takes the result, on the thread of the group. Not called where the group has ended."""
    exclusive: bool = False
    leisurely: bool = False
    """Not urgent: the host lets as much time pass after it as it took, so that whoever shares disk
    and processor gets half of both."""
    failed: Callable[[BaseException], None] | None = None
    """Takes the error. Without it the replica has failed: its disk is of no use."""

    def ended(self, result: object, error: BaseException | None) -> None:
        """Hand the result on, or the error. Raises ``StorageError`` where the replica has failed with it."""
        if error is None:
            self.done(result)
        elif self.failed is not None:
            self.failed(error)
        elif isinstance(error, OSError):
            raise failure_of(error, "writing the state")
        elif isinstance(error, StorageError):
            raise error
        else:
            raise LogFailed(f"a defect: {error!r}")
