"""What a worker has in hand: receives as there is room, and gives back what it does not begin."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

from floodmark.errors import FloodmarkError, InvalidRequest, NotUsable
from floodmark.queues.calls import QueueCalls
from floodmark.queues.job import Job
from floodmark.queues.leases import Leases
from floodmark.queues.options import AT_ONCE_MAX, JobsOptions
from floodmark.queues.settling import Settler
from floodmark.queues.shapes import Action, QueueRecord, Settlement
from floodmark.transport.pacing import Backoff, may_pass

_LOG: Final = logging.getLogger("floodmark")
_STOP_S: Final = 0.25
"""How long a receive that is under way may go on when the worker stops: what it brings is given back."""
_STUCK_S: Final = 10.0


class Jobs:
    """Jobs as they come: at most ``concurrency`` of them are in hand at once. See ``Queue.jobs``.

    Iterate it once. The end of ``async with``, ``aclose`` and leaving the loop drain it: what is in hand is
    finished, what was received and not begun is given back.
    """

    def __init__(self, calls: QueueCalls, options: JobsOptions) -> None:
        self._calls = calls
        self._options = options
        self._settler = Settler(calls.queue, calls.settle)
        self._leases = Leases(calls.queue, calls.settle)
        self._ready: deque[Job] = deque()
        self._in_hand: set[Job] = set()
        self._entered: set[Job] = set()
        self._last: Job | None = None
        """Handed out, and done with when the next one is asked for."""
        self._receiver: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        self._failure: FloodmarkError | None = None
        self._is_answered = self._is_idle = self._is_stopped = False
        self._is_iterated = self._is_closing = self._is_used = False
        self.is_in_block = False
        """Whether the end of a ``with`` block closes it, and not that of the loop."""
        self.paused = ""
        """Why the queue delivers nothing at the moment, as it said last: "" where there is just nothing."""

    # -- for the program -------------------------------------------------------------------------------

    @property
    def in_hand(self) -> int:
        """Jobs that were handed out and have not ended."""
        return len(self._in_hand)

    @property
    def is_over(self) -> bool:
        """Whether all of it has ended, and been told."""
        return self._over.is_set()

    async def __aiter__(self) -> AsyncGenerator[Job, None]:
        try:
            while (job := await self.take()) is not None:
                yield job
        finally:
            await self.leave()

    async def leave(self) -> None:
        """The loop has ended. Within a block, its end says how the job in hand ended."""
        if self.is_in_block:
            await self._end_receiving()
        else:
            await self.aclose()

    async def take(self) -> Job | None:
        """The next job; None at the end. Without ``async with job`` and ``concurrency`` the one before is
        done with now.

        Raises ``UnknownQueue``, ``Forbidden``, and what keeps the first receive from being answered.
        """
        self._begin()
        await self._finish_last()
        while True:
            if self._is_closing:
                raise NotUsable("the queue's worker was closed", sent=False)
            if self._is_stopped:
                return None
            if self._ready and len(self._in_hand) < self._options.concurrency:
                return self._hand_out()
            if self._failure is not None:
                raise self._failure
            if self._is_idle and not self._ready:
                return None
            self._changed.clear()
            await self._wait_for_change()

    def stop(self) -> None:
        """Have the loop end by itself before the next job; for another task of the same event loop, or the
        handler of a signal. What is in hand is finished."""
        self._is_stopped = True
        self._changed.set()

    async def aclose(self, *, failed: Exception | None = None) -> None:
        """Drain, and say how all of it ended. ``failed``: what has ended the job in hand, if it was that."""
        if not self._calls.is_here:
            return
        if self._is_closing:
            await self._over.wait()
            return
        self._is_closing = True
        self.stop()
        try:
            await self._end_receiving()
            if self._last is not None and self._last not in self._entered and not self._last.is_settled:
                await self._leave(self._last, failed)
            await self._drain()
        finally:
            try:
                await self._give_back(list(self._in_hand))
                await self._leases.close()
                await self._settler.close(self._options.timeout_s)
            finally:
                self._over.set()

    async def __aenter__(self) -> Self:
        self.is_in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(failed=error if isinstance(error, Exception) else None)

    # -- for jobs --------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """Its block is entered."""
        if job.is_settled or job in self._entered:
            raise NotUsable("a job is worked on once", sent=False)
        self._is_used = True
        self._entered.add(job)

    async def settle(self, job: Job, settlement: Settlement) -> None:
        """Send it, with others. Waits only where too many are under way."""
        self._end(job)
        try:
            if not job.is_lost:
                await self._settler.add(settlement)
        finally:
            self._release(job)

    async def settle_now(self, job: Job, settlement: Settlement) -> None:
        """Send it, and wait. Raises ``ReceiptExpired``."""
        if job.is_settled:
            raise NotUsable("how this job ends was said before", sent=False)
        self._end(job)
        try:
            await self._settler.add_and_wait(settlement)
        finally:
            self._release(job)

    async def extend(self, job: Job, timeout_s: float | None) -> None:
        """Have more time. Raises ``ReceiptExpired``."""
        visible_s = timeout_s if timeout_s is not None else job.record.visible_ms / 1000
        settlement = Settlement.extend(job.receipt, timeout_s)
        await self._settler.add_and_wait(settlement)
        if not job.is_settled:
            self._leases.add(job, visible_s)

    # -- within ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._receiver is None and not self._is_closing:
            self._calls.check()
            self._receiver = asyncio.create_task(self._receive_on())

    async def _finish_last(self) -> None:
        last, self._last = self._last, None
        if last is not None and not last.is_settled and last not in self._entered:
            await self.settle(last, Settlement(last.receipt, Action.ACK))

    def _hand_out(self) -> Job:
        job = self._ready.popleft()
        self._in_hand.add(job)
        if self._options.settles_last:
            self._last = job
        return job

    async def _wait_for_change(self) -> None:
        if self._is_used or len(self._in_hand) < self._options.concurrency:
            await self._changed.wait()
            return
        try:
            async with asyncio.timeout(_STUCK_S):
                await self._changed.wait()
        except TimeoutError:
            self._is_used = True
            _LOG.warning(
                "queue %s: %d jobs are in hand, and none has ended or is worked on in a block. With "
                "concurrency above 1 each job needs 'async with job:', in a task of its own",
                self._calls.queue,
                len(self._in_hand),
            )

    def _end(self, job: Job) -> None:
        self._is_used = job.is_settled = True
        self._leases.remove(job)

    def _release(self, job: Job) -> None:
        self._in_hand.discard(job)
        self._entered.discard(job)
        self._room.set()
        self._changed.set()

    async def _leave(self, job: Job, failed: Exception | None) -> None:
        if failed is None:
            await self._give_back([job])
        else:
            await self.settle(job, Settlement.nack(job.receipt, error=failed))

    async def _give_back(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            await self.settle(job, Settlement(job.receipt, Action.RELEASE))

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._options.drain_s):
                while self._in_hand:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _LOG.warning(
                "queue %s: %d jobs did not end within %.0f s and are given back",
                self._calls.queue,
                len(self._in_hand),
                self._options.drain_s,
            )

    # -- receiving -------------------------------------------------------------------------------------

    async def _end_receiving(self) -> None:
        """Receive nothing more, and give back what is not begun."""
        self.stop()
        self._room.set()
        self._settler.send_alone()
        if self._receiver is not None and not self._receiver.done():
            await asyncio.wait([self._receiver], timeout=_STOP_S)
            self._receiver.cancel()
            await asyncio.gather(self._receiver, return_exceptions=True)
        ready = list(self._ready)
        self._ready.clear()
        await self._give_back(ready)

    @property
    def _room_now(self) -> int:
        options = self._options
        taken = len(self._in_hand) + len(self._ready)
        return min(AT_ONCE_MAX, options.concurrency + options.prefetch - taken)

    async def _receive_on(self) -> None:
        backoff = Backoff()
        idle_s = self._options.idle_s
        waited_s = 0.0
        while not self._is_stopped:
            if self._room_now <= 0:
                self._room.clear()
                self._settler.leave_to_receive()
                await self._room.wait()
                continue
            wait_s = self._options.wait_s
            if idle_s is not None:
                wait_s = min(wait_s, max(0.0, idle_s - waited_s))
            began = time.monotonic()
            try:
                records = await self._receive(wait_s)
            except FloodmarkError as error:
                if not (may_pass(error) and self._is_answered):
                    self._failure = error
                    self._changed.set()
                    return
                _LOG.warning("queue %s: %s", self._calls.queue, error)
                await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                continue
            if records:
                waited_s = 0.0
                backoff.reset()
                continue
            took_s = time.monotonic() - began
            if took_s < wait_s / 2 or (wait_s == 0 and idle_s is None):  # The wait is done here, then.
                await asyncio.sleep(backoff.next_delay_s())
            waited_s += time.monotonic() - began
            if idle_s is not None and waited_s >= idle_s:
                self._is_idle = True
                self._changed.set()
                return

    async def _receive(self, wait_s: float) -> Sequence[QueueRecord]:
        endings = self._settler.take_along()
        try:
            received = await self._calls.receive(
                self._room_now, wait_s=wait_s, settlements=[ending.settlement for ending in endings]
            )
        except InvalidRequest:
            self._settler.part(endings)
            if not endings:
                raise
            return await self._receive(wait_s)  # None of them rides along again.
        except BaseException:
            self._settler.put_back(endings)
            raise
        self._settler.arrived(endings, received.settled)
        self._is_answered = True
        if received.paused != self.paused:
            self.paused = received.paused
            if self.paused:
                _LOG.warning("queue %s delivers nothing at the moment: %s", self._calls.queue, self.paused)
        for record in received.records:
            job = Job(record, self)
            self._ready.append(job)
            self._leases.add(job, record.visible_ms / 1000)
        if received.records:
            self._changed.set()
        return received.records
