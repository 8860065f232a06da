"""One queue while this node leads its shard: what is decided, in which order, and when it is answered.

What a step decides is applied to the view at once, before it is stored, and the next step sees it. Answers
wait until everything that they were decided on is stored; when something was not, this is over, and another
one begins from the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from floodmark.errors import FloodmarkError, UnknownQueue

from node import outcomes
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.dead_letters import DeadLetters
from node.coordinator.delivery.dispatch import Dispatch
from node.coordinator.delivery.dying_records import DyingRecords
from node.coordinator.groups.decision import Decision
from node.coordinator.keys import TopicPartition
from node.coordinator.proposals import Entry, Proposals
from node.coordinator.queues import retention, settling
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Place, Receive, Received, Settled, Settlement
from node.coordinator.queues.values import State

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_leads import QueueLeads

HELD_UP_S: Final = 1.0
"""A timer that is this late says that the process did not run: settlements may wait to be read."""

R = TypeVar("R")
Step = Callable[[Queue], Decision[R]]
"""Judges a queue. Raises classes of ``floodmark.errors`` to refuse."""

_log = structlog.get_logger(__name__)


class QueueLead:
    """``all_``: those of the shard, which are told what was proposed and what came of it."""

    def __init__(self, view: Queue, proposals: Proposals, around: QueuesAround, all_: QueueLeads) -> None:
        self.name = view.name
        self.view = view
        self.around = around
        self._proposals = proposals
        self._all = all_
        self._last: Entry | None = None
        """The last one that was proposed."""
        self._timer: asyncio.TimerHandle | None = None
        self._looks = False
        self._failure: FloodmarkError | None = None
        self.ends: dict[int, int] = {}
        """The high watermarks of the topic's partitions, as they were last seen."""
        self.oldest_ms: int | None = None
        """When the oldest record that is not settled was appended, likewise."""
        self.looked_s = 0.0
        self._starts: dict[TopicPartition, int] = {}
        """Where partitions of the topic begin, as far as what was lost by that is counted. Not of the dead
        letters': those that are gone may be delivered again after that."""
        self.dispatch = Dispatch(self)
        self._dying = DyingRecords(self)
        self.letters = DeadLetters(self._dying, around.letters)
        self.look_soon()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost by forgetting it: it is made again from the state."""
        view = self.view
        return not (
            self.dispatch.is_used
            or view.in_flight
            or view.counts[State.DYING]
            or (self._last is not None and not self._last.done.done())
        )

    def close(self, error: FloodmarkError) -> None:
        """It is over: whoever waits is told."""
        self._failure = error
        if self._timer is not None:
            self._timer.cancel()
        self.dispatch.close(error)
        self.letters.close()

    # Deciding.

    def check(self) -> None:
        """Raises why this is over, once it is."""
        if self._failure is not None:
            raise self._failure

    def put(self, decision: Decision[R]) -> Entry | None:
        """Have it stored, and go on from it at once. Returns what the answer has to wait for; None: nothing.

        Raises ``TooManyRequests``; then nothing was decided.
        """
        if not decision.pairs:
            return self._last  # Also one that has failed a moment ago: what was decided on it is void.
        entry = self._proposals.add(decision.pairs)
        self.view.replay(decision.pairs, clock_s=asyncio.get_running_loop().time())
        if entry is not self._last:
            self._all.proposed()
            entry.done.add_done_callback(self._stored)
            self._last = entry
        self.look_soon()
        return entry

    async def decide(self, step: Step[R], *, deadline: float, is_sure: bool = False) -> R:
        """The answer of ``step``, once what it decided is stored. ``deadline``: of the event loop's clock.

        A refusal is given only while this node surely leads, and so is an answer that stores nothing, unless
        it ``is_sure``. Raises what the step raises; ``Unavailable`` where nothing was stored;
        ``OutcomeUnknown``; ``TooManyRequests``.
        """
        self.check()
        try:
            decision = step(self.view)
        except FloodmarkError:
            await self.confirm(deadline)
            decision = step(self.view)
        entry = self.put(decision)
        await self.stored(entry, deadline)
        if not decision.pairs and not is_sure:
            await self._proposals.confirm(deadline)
        return decision.answer

    async def confirm(self, deadline: float) -> None:
        """All that was decided so far is stored, and this node led after the call."""
        await self.stored(self._last, deadline)
        await self._proposals.confirm(deadline)
        self.check()

    async def all_stored(self, deadline: float) -> None:
        """Wait until all that was decided so far is stored. Raises as ``stored``."""
        await self.stored(self._last, deadline)

    async def stored(self, entry: Entry | None, deadline: float) -> None:
        """Wait until it is stored. Raises what it failed with, ``OutcomeUnknown`` at the deadline."""
        if entry is not None:
            await entry.stored(deadline)

    async def settle(self, settlements: Sequence[Settlement], *, deadline: float) -> Sequence[Settled]:
        """See ``QueueAdmin``."""
        self.check()
        self.check_exists()
        decision = settling.settle(self.view, settlements, now_ms=self.around.wall_ms())
        await self.stored(self.put(decision), deadline)
        if decision.answer.count(Settled.DONE) != len(decision.answer):
            with outcomes.PartDone(is_begun=bool(decision.pairs)):
                await self._proposals.confirm(deadline)
        return decision.answer

    async def receive(self, request: Receive, *, deadline: float) -> Received:
        """See ``QueueAdmin``; ``deadline``: by which what was decided is stored, ``wait_s`` included."""
        self.check()
        self.check_exists()
        settled: Sequence[Settled] = ()
        entry: Entry | None = None
        is_begun = False
        if request.settle:
            decision = settling.settle(self.view, request.settle, now_ms=self.around.wall_ms())
            settled, entry, is_begun = decision.answer, self.put(decision), bool(decision.pairs)
        with outcomes.PartDone(is_begun=is_begun):
            try:
                found = await self.dispatch.receive(request)
            finally:
                # Also for a caller who leaves meanwhile: what it settled is settled.
                self.look_soon()
            await self.stored(found.entry or entry, deadline)
        if settled and settled.count(Settled.DONE) != len(settled):
            with outcomes.PartDone(is_begun=is_begun or found.entry is not None):
                await self._proposals.confirm(deadline)
        return Received(records=found.records, settled=settled, paused=found.paused)

    def passed(self, topic_id: int, partition: int, start: int) -> None:
        """Retention has removed all records of a partition before ``start``: what was not settled is lost."""
        if not self.view or self._failure is not None or start <= self._starts.get((topic_id, partition), 0):
            return
        try:
            while self._decided(retention.passed(self.view, topic_id, partition, start)).more:
                continue
        except FloodmarkError as error:
            _log.info("losses_not_counted", queue=self.name, reason=error.detail)
            return
        if topic_id == self.view.state.config.topic_id:
            self._starts[topic_id, partition] = start

    def waits(self, place: Place) -> bool:
        """Whether a record was seen and is still to be delivered: it may be soon."""
        if place in self.view.ready:
            return True
        share = self.view.share_of(place)
        run = None if share is None else share.at.get(place.offset)
        return run is not None and run.value.state == State.HELD

    def gone(self, places: Sequence[Place]) -> None:
        """These records are not in their topic any more: compaction has removed them."""
        if not self.view or self._failure is not None:
            return
        try:
            self.put(retention.missing(self.view, places))
        except FloodmarkError as error:
            _log.info("records_not_passed", queue=self.name, reason=error.detail)

    def _decided(self, decision: Decision[R]) -> R:
        self.put(decision)
        return decision.answer

    def check_exists(self) -> None:
        """Raises ``UnknownQueue``."""
        if not self.view:
            raise UnknownQueue(f"there is no queue {self.name}", queue=self.name)

    def _stored(self, done: asyncio.Future[None]) -> None:
        error = done.exception()
        assert error is None or isinstance(error, FloodmarkError), "as proposals end"
        self._all.settled(error)

    # Time.

    def look_soon(self) -> None:
        """Something may be ready, due or dying: look in the next turn of the event loop."""
        if not self._looks and self._failure is None:
            self._looks = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looks = False
        if self._failure is not None or not self.view:
            return
        self.dispatch.pump()
        if self.view.counts[State.DYING]:
            self.letters.look(self._dying.sources())
        self._set_timer()

    def _set_timer(self) -> None:
        """Have it go off when a lease ends, or when something is ready that somebody waits for."""
        loop = asyncio.get_running_loop()
        at = self.view.visibility.next()
        due_ms = self.dispatch.next_due_ms()
        if due_ms is not None:
            due = loop.time() + max(0, due_ms - self.around.wall_ms()) / 1_000
            at = due if at is None else min(at, due)
        if self._timer is not None:
            if at is not None and self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = None if at is None else loop.call_at(at, self._timed, at)

    def _timed(self, at: float) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - at > HELD_UP_S:
            self.view.visibility.postpone(now + HELD_UP_S)
        try:
            while True:
                ended = settling.end(self.view, clock_s=now, now_ms=self.around.wall_ms())
                if not ended.answer:
                    break
                self.put(ended)
        except FloodmarkError as error:  # Too much waits to be stored.
            _log.info("leases_not_ended", queue=self.name, reason=error.detail)
            self._timer = loop.call_later(HELD_UP_S, self._timed, now + HELD_UP_S)
            return
        self.look_soon()
