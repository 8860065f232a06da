"""What groups want to have done in threads beside their log's writes: the files of a large state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

import structlog

from consensus.core.jobs import Job
from consensus.host.disk_threads import DiskThreads, Done
from consensus.host.host_types import Slot

_log = structlog.get_logger("consensus.host.group_host")


class LogThread(Protocol):
    """The one thread at a time that works on a group's log."""

    async def idle(self, slot: Slot) -> None:
        """Wait until there is none."""

    def begin(self, slot: Slot, work: Callable[[], object], done: Done) -> None:
        """Have one work, where there is none."""


class DiskJobs:
    """One per host.

    ``bulk``: threads of their own; however large the states are, the writes of logs do not wait for them.
    """

    def __init__(self, log_thread: LogThread, bulk: DiskThreads, wake: Callable[[Slot], None]) -> None:
        self._log_thread = log_thread
        self._bulk = bulk
        self._wake = wake
        self._alone: set[asyncio.Task[None]] = set()
        """Those that wait until the log is free."""

    def begin_checkpoint(self, slot: Slot) -> None:
        """Have a machine that keeps its state in files begin a new one."""
        if not slot.removed and slot.group.storage.begin_checkpoint():
            self._wake(slot)

    def start(self, slot: Slot, jobs: Iterable[Job]) -> None:
        """Run what the group wants to have done."""
        for job in jobs:
            slot.jobs += 1
            if job.exclusive:
                task = asyncio.get_running_loop().create_task(self._run_alone(slot, job))
                self._alone.add(task)
                task.add_done_callback(self._alone.discard)
            else:
                ended = partial(self._ended, slot, job)
                if job.leisurely:
                    ended = partial(_later, asyncio.get_running_loop().time(), ended)
                self._bulk.submit(job.work, ended)

    async def _run_alone(self, slot: Slot, job: Job) -> None:
        await self._log_thread.idle(slot)
        self._log_thread.begin(slot, job.work, partial(self._ended, slot, job))

    def _ended(self, slot: Slot, job: Job, result: object, error: BaseException | None) -> None:
        slot.jobs -= 1
        try:
            is_due = slot.group.job_done(job, result, error)
        # A defect: the group has failed itself, and the others must go on.
        except Exception:  # noqa: BLE001
            _log.exception("group_defect", group=slot.group.raft_group)
            is_due = True
        if is_due:
            self._wake(slot)
        _tell_waiting(slot)

    async def all_done(self, slot: Slot) -> None:
        """Wait until no thread works for a group that was removed: it wants nothing more."""
        while slot.jobs:
            await self.one_done(slot)
        _tell_waiting(slot)

    async def one_done(self, slot: Slot) -> None:
        """Wait until one more has ended."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot.on_job_done.append(partial(settle, ended, None, None))
        await ended


def _tell_waiting(slot: Slot) -> None:
    waiting, slot.on_job_done = slot.on_job_done, []
    for callback in waiting:
        callback()


def _later(begun: float, ended: Done, result: Any, error: BaseException | None) -> None:
    """Tell it once as much time has passed again as has since."""
    loop = asyncio.get_running_loop()
    loop.call_later(loop.time() - begun, ended, result, error)


def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Hand on what came of a work, where somebody still waits for it."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
