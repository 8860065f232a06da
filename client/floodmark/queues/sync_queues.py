"""Queues for programs without an event loop: see ``floodmark.sync``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, Unpack

from floodmark.keywords import OfJobs, OfQueue, OfReceive, OfReplay, Within
from floodmark.loop_thread import LoopThread
from floodmark.queues.descriptions import DeadLetter, DeadRecord, QueueInfo, QueueListing
from floodmark.queues.job import Delivery
from floodmark.queues.job import Job as AsyncJob
from floodmark.queues.jobs import Jobs as AsyncJobs
from floodmark.queues.queue import Queue as AsyncQueue
from floodmark.queues.queues import Queues as AsyncQueues
from floodmark.queues.shapes import Outcome, QueueRecord, Settlement


class Job(Delivery):
    """See ``floodmark.Job``: ``with job:`` settles it."""

    __slots__ = ("_job", "_thread")

    def __init__(self, thread: LoopThread, job: AsyncJob) -> None:
        super().__init__(job.record)
        self._thread = thread
        self._job = job

    @property
    def is_settled(self) -> bool:
        """How it ends has been said."""
        return self._job.is_settled

    @property
    def is_lost(self) -> bool:
        """Its time was up, and it may be somebody else's."""
        return self._job.is_lost

    def ack(self) -> None:
        """It is done, once this returns."""
        self._thread.wait(self._job.ack())

    def retry(self, delay_s: float | None = None) -> None:
        """It failed: deliver it again."""
        self._thread.wait(self._job.retry(delay_s))

    def reject(self, reason: str = "") -> None:
        """Make it a dead letter."""
        self._thread.wait(self._job.reject(reason))

    def extend(self, timeout_s: float | None = None) -> None:
        """Have the visibility timeout begin again."""
        self._thread.wait(self._job.extend(timeout_s))

    def __enter__(self) -> Self:
        self._thread.wait(self._job.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._thread.wait(self._job.__aexit__(kind, error, trace))


class Jobs(Iterator[Job]):
    """The result of ``Queue.jobs``: an iterator, and a context manager that drains it.

    One thread iterates; jobs may be worked on in others.
    """

    def __init__(self, thread: LoopThread, jobs: AsyncJobs) -> None:
        self._thread = thread
        self._jobs = jobs
        # It must not refer to this object: a loop that is left has to close the jobs at once.
        self._items = _each(thread, jobs)

    def __next__(self) -> Job:
        return next(self._items)

    def stop(self) -> None:
        """End the loop before its next job, from any thread."""

        async def stop() -> None:
            self._jobs.stop()

        if self._thread.is_running:
            self._thread.wait(stop())

    def close(self, *, failed: Exception | None = None) -> None:
        """Finish what is in hand, and give back what is not begun."""
        if self._thread.is_running:
            self._thread.wait(self._jobs.aclose(failed=failed))

    def __enter__(self) -> Self:
        self._jobs.is_in_block = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error if isinstance(error, Exception) else None)


def _each(thread: LoopThread, jobs: AsyncJobs) -> Iterator[Job]:
    try:
        while (job := thread.wait(jobs.take())) is not None:
            yield Job(thread, job)
    finally:
        if thread.is_running:
            thread.wait(jobs.leave())


class Queue:
    """See ``floodmark.Queue``."""

    def __init__(self, thread: LoopThread, queue: AsyncQueue) -> None:
        self._thread = thread
        self._queue = queue

    @property
    def name(self) -> str:
        """Of the queue."""
        return self._queue.name

    def jobs(self, **options: Unpack[OfJobs]) -> Jobs:
        """Jobs as they come. With ``concurrency`` above 1 each needs ``with job:``; ``run`` does that."""

        async def make() -> AsyncJobs:
            return self._queue.jobs(**options)

        return Jobs(self._thread, self._thread.wait(make()))

    def run(self, handle: Callable[[Job], object], **options: Unpack[OfJobs]) -> None:
        """Call ``handle`` for each job, in ``concurrency`` threads.

        Ends after ``stop()``, which another thread calls, or ``idle_s``, when all that was begun has ended.
        """

        def work(job: Job) -> None:
            with job:
                handle(job)

        async def make() -> AsyncJobs:
            return self._queue.jobs_in_blocks(**options)

        with Jobs(self._thread, self._thread.wait(make())) as jobs:
            threads = ThreadPoolExecutor(options.get("concurrency", 1), thread_name_prefix="floodmark-job")
            try:
                for job in jobs:
                    threads.submit(work, job)
            finally:
                threads.shutdown()

    def stop(self) -> None:
        """Have all loops and ``run`` end before their next jobs, from any thread."""

        async def stop() -> None:
            self._queue.stop()

        if self._thread.is_running:
            self._thread.wait(stop())

    def close(self, *, failed: Exception | None = None) -> None:
        """Finish what is in hand, and give back what is not begun."""
        if self._thread.is_running:
            self._thread.wait(self._queue.aclose(failed=failed))

    def __enter__(self) -> Self:
        self._thread.wait(self._queue.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error if isinstance(error, Exception) else None)


class Queues:
    """See ``floodmark.queues.queues.Queues``."""

    def __init__(self, thread: LoopThread, queues: AsyncQueues) -> None:
        self._thread = thread
        self._queues = queues

    def put(self, queue: str, topic: str, **options: Unpack[OfQueue]) -> QueueInfo:
        """Make a queue on a topic, or give one that is there these settings."""
        return self._thread.wait(self._queues.put(queue, topic, **options))

    def list(self, prefix: str = "", **options: Unpack[Within]) -> Sequence[QueueListing]:
        """All queues whose names begin with ``prefix``."""

        async def collect() -> Sequence[QueueListing]:
            return [queue async for queue in self._queues.list(prefix, **options)]

        return self._thread.wait(collect())

    def describe(self, queue: str, **options: Unpack[Within]) -> QueueInfo:
        """A queue as it is now."""
        return self._thread.wait(self._queues.describe(queue, **options))

    def delete(self, queue: str, **options: Unpack[Within]) -> None:
        """Delete a queue, with what was not settled."""
        self._thread.wait(self._queues.delete(queue, **options))

    def purge(self, queue: str, **options: Unpack[Within]) -> int:
        """Settle all that is there now."""
        return self._thread.wait(self._queues.purge(queue, **options))

    def receive(
        self, queue: str, max_records: int = 1, **options: Unpack[OfReceive]
    ) -> Sequence[QueueRecord]:
        """Up to so many records; nothing extends their time."""
        return self._thread.wait(self._queues.receive(queue, max_records, **options))

    def settle(
        self, queue: str, settlements: Sequence[Settlement], **options: Unpack[Within]
    ) -> Sequence[Outcome]:
        """Say of deliveries how they end, or go on."""
        return self._thread.wait(self._queues.settle(queue, settlements, **options))

    def dead(self, queue: str, **options: Unpack[Within]) -> Sequence[DeadLetter]:
        """Dead letters, without their records."""

        async def collect() -> Sequence[DeadLetter]:
            return [letter async for letter in self._queues.dead(queue, **options)]

        return self._thread.wait(collect())

    def dead_letter(self, queue: str, letter: str, **options: Unpack[Within]) -> DeadRecord:
        """One dead letter, with its record."""
        return self._thread.wait(self._queues.dead_letter(queue, letter, **options))

    def replay(self, queue: str, letters: Sequence[str] | None = None, **options: Unpack[OfReplay]) -> int:
        """Deliver dead letters again, to this queue alone."""
        return self._thread.wait(self._queues.replay(queue, letters, **options))

    def purge_dead(self, queue: str, letters: Sequence[str] | None = None, **options: Unpack[Within]) -> int:
        """Take dead letters off the list."""
        return self._thread.wait(self._queues.purge_dead(queue, letters, **options))
