"""While a job is in hand its time is extended, so that nobody else gets the record."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from floodmark.errors import FloodmarkError
from floodmark.queues.job import Job
from floodmark.queues.settling import AT_ONCE, Send
from floodmark.queues.shapes import Outcome, Settlement
from floodmark.transport.pacing import Backoff, may_pass

_LOG: Final = logging.getLogger("floodmark")
_PART: Final = 3
"""Extended when this part of the time is over: two tries may fail before it is up."""
_TOGETHER: Final = 0.25
"""What is due within this part of the interval is extended with what is due now."""


class Leases:
    """The jobs of one worker whose time runs."""

    def __init__(self, queue: str, send: Send) -> None:
        self._queue = queue
        self._send = send
        self._due: dict[Job, float] = {}
        self._interval_s: dict[Job, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, job: Job, visible_s: float) -> None:
        """The record was delivered just now, or its time has begun again."""
        self._interval_s[job] = visible_s / _PART
        self._due[job] = time.monotonic() + self._interval_s[job]
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    def remove(self, job: Job) -> None:
        """It has ended."""
        self._due.pop(job, None)
        self._interval_s.pop(job, None)

    async def close(self) -> None:
        """Extend nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            self._changed.clear()
            now = time.monotonic()
            first = min(self._due.values(), default=None)
            if first is None or first > now:
                try:
                    async with asyncio.timeout(None if first is None else first - now):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            jobs = [job for job, due in self._due.items() if due <= now + self._interval_s[job] * _TOGETHER]
            if len(jobs) > AT_ONCE:
                # Those that have waited longest: where nodes are slow, all get their turn.
                jobs = sorted(jobs, key=self._due.__getitem__)[:AT_ONCE]
            try:
                outcomes = await self._send([Settlement.extend(job.receipt) for job in jobs])
            except FloodmarkError as error:
                if may_pass(error):
                    await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                    continue
                _LOG.error(
                    "queue %s: the time of %d jobs cannot be extended: %s", self._queue, len(jobs), error
                )
                for job in jobs:
                    self.remove(job)
                continue
            backoff.reset()
            self._extended(jobs, outcomes, now)

    def _extended(self, jobs: Sequence[Job], outcomes: Sequence[Outcome], sent: float) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job not in self._due:
                continue  # It has ended meanwhile.
            if outcome is Outcome.LATE:
                self.remove(job)
                job.is_lost = True
                _LOG.warning("queue %s: the time of %r was up; others may have it now", self._queue, job)
            else:
                self._due[job] = sent + self._interval_s[job]
