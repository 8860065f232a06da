"""What groups want to have done in threads beside their log's writes: the files of a large state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from consensus.core.jobs import Job
from consensus.host.disk_threads import DiskThreads, Done
from consensus.host.host_types import Slot

_log = structlog.get_logger("consensus.host.group_host")


class DiskJobs:
    """A part of ``DiskWork``, which fills the attributes."""

    _bulk: DiskThreads
    """Threads of their own: however large the states are, the writes of logs do not wait for them."""
    _wake: Callable[[Slot], None]
    _alone: set[asyncio.Task[None]]
    """Those that wait until the log is free."""
    idle: Callable[[Slot], Any]
    _begin: Callable[[Slot, Callable[[], object], Done], None]

    def begin_checkpoint(self, slot: Slot) -> None:
        """Have a machine that keeps its state in files begin a new one."""
        if not slot.removed and slot.group.storage.begin_checkpoint():
            self._wake(slot)

    def start_jobs(self, slot: Slot, jobs: Iterable[Job]) -> None:
        """Run what the group wants to have done."""
        for job in jobs:
            slot.jobs += 1
            if job.exclusive:
                task = asyncio.get_running_loop().create_task(self._run_alone(slot, job))
                self._alone.add(task)
                task.add_done_callback(self._alone.discard)
            else:
                ended = partial(self._job_ended, slot, job)
                if job.leisurely:
                    ended = partial(_later, asyncio.get_running_loop().time(), ended)
                self._bulk.submit(job.work, ended)

    async def _run_alone(self, slot: Slot, job: Job) -> None:
        await self.idle(slot)
        self._begin(slot, job.work, partial(self._job_ended, slot, job))

    def _job_ended(self, slot: Slot, job: Job, result: object, error: BaseException | None) -> None:
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

    async def jobs_done(self, slot: Slot) -> None:
        """Wait until no thread works for a group that was removed: it wants nothing more."""
        while slot.jobs:
            await self._job_done(slot)
        _tell_waiting(slot)

    async def _job_done(self, slot: Slot) -> None:
        """Until one more has ended."""
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
