"""``client.queue("jobs")``: working off a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, Unpack

from floodmark.errors import FloodmarkError
from floodmark.keywords import OfJobs
from floodmark.queues.calls import QueueCalls, default_worker
from floodmark.queues.job import Job
from floodmark.queues.jobs import Jobs
from floodmark.queues.options import JobsOptions
from floodmark.transport.http import Transport

Handle = Callable[[Job], Awaitable[object]]


class Queue:
    """A queue, for those who work it off. Made by ``client.queue``.

    The end of ``async with`` drains what it has begun: jobs in hand are finished, those not begun are given
    back, and all of that is stored when the block is left.
    """

    def __init__(
        self,
        transport: Transport,
        queue: str,
        *,
        worker: str | None,
        timeout_s: float,
        register: Callable[[Jobs], None],
    ) -> None:
        self._calls = QueueCalls(transport, queue, worker or default_worker(), timeout_s)
        self._timeout_s = timeout_s
        self._register = register
        self._made: list[Jobs] = []
        self._is_in_block = self._is_stopped = False

    @property
    def name(self) -> str:
        """Of the queue."""
        return self._calls.queue

    def jobs(
        self,
        *,
        concurrency: int = 1,
        prefetch: int = 0,
        wait_s: float = 20.0,
        idle_s: float | None = None,
        drain_s: float = 30.0,
    ) -> Jobs:
        """Jobs as they come: ``async for job in queue.jobs(): await handle(job.json())``.

        With ``concurrency`` 1 a job is done with, and acknowledged, when the next one is asked for; an
        exception that leaves the loop and the queue's block has it delivered again. With ``async with job:``
        its own block says how it ends, and the loop goes on after a failure. With more than 1 each job needs
        such a block, in a task of its own: ``run`` does that.

        concurrency  so many jobs at most are in hand at once
        prefetch     so many more are received ahead, for many short ones; they are nobody else's meanwhile
        wait_s       how long a node waits for a record before it says that there is none
        idle_s       end after waiting so long for a job; 0: once there is none. Else it goes on for ever
        drain_s      how long what is in hand may take when it is closed; then it is given back

        The time of what is in hand is extended in the background, however long it takes, as long as the event
        loop runs: give work that blocks to a thread (``asyncio.to_thread``), or use ``floodmark.sync``.
        """
        options = JobsOptions(
            concurrency=concurrency,
            prefetch=prefetch,
            wait_s=wait_s,
            idle_s=idle_s,
            drain_s=drain_s,
            timeout_s=self._timeout_s,
            settles_last=concurrency == 1,
        )
        return self._make(options)

    def jobs_in_blocks(self, **options: Unpack[OfJobs]) -> Jobs:
        """Like ``jobs``, but each job needs its block whatever the concurrency is."""
        return self._make(JobsOptions(timeout_s=self._timeout_s, settles_last=False, **options))

    async def run(self, handle: Handle, **options: Unpack[OfJobs]) -> None:
        """Call ``handle`` for each job, ``concurrency`` of them at once. The options are those of ``jobs``.

        A job is acknowledged when ``handle`` returns, and fails when it raises an exception. Ends after
        ``stop()``, or ``idle_s``, when all that was begun has ended.
        """
        tasks: set[asyncio.Task[None]] = set()
        async with self.jobs_in_blocks(**options) as jobs:
            try:
                try:
                    while (job := await jobs.take()) is not None:
                        task = asyncio.create_task(_work(handle, job))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                except FloodmarkError:
                    await jobs.aclose()
                    raise
                await jobs.aclose()
            finally:  # What was cancelled, or took longer than it may, is cancelled too.
                left = list(tasks)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def stop(self) -> None:
        """Have all loops and ``run`` end before their next jobs, also those that begin later; for another
        task of the same event loop, or the handler of a signal."""
        self._is_stopped = True
        for jobs in self._made:
            jobs.stop()

    async def aclose(self, *, failed: Exception | None = None) -> None:
        """Drain. ``failed``: what has ended the job in hand, if it was that."""
        made, self._made = self._made, []
        await asyncio.gather(*(jobs.aclose(failed=failed) for jobs in made))

    async def __aenter__(self) -> Self:
        self._is_in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(failed=error if isinstance(error, Exception) else None)

    def _make(self, options: JobsOptions) -> Jobs:
        self._calls.check_new()
        jobs = Jobs(self._calls, options)
        jobs.is_in_block = self._is_in_block
        self._made = [each for each in self._made if not each.is_over]
        self._made.append(jobs)
        self._register(jobs)
        if self._is_stopped:
            jobs.stop()
        return jobs


async def _work(handle: Handle, job: Job) -> None:
    async with job:
        await handle(job)
