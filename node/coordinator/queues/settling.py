"""How deliveries end: what their workers say, and what happens when they say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from node.coordinator.groups.decision import Decision, Pair
from node.coordinator.queues import breaker
from node.coordinator.queues.changes import Changes
from node.coordinator.queues.dying import Dying
from node.coordinator.queues.limits import REASON_CHARACTERS_MAX
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Action, Settled, Settlement
from node.coordinator.queues.run import Run
from node.coordinator.queues.share_partition import ACKED, SharePartition
from node.coordinator.queues.values import CLOSED, Ended, QueueValue, State

RUNS_PER_STEP: Final = 1_000
"""Of a term that is over: the others are left for the next step."""

_ENDED: Final = {
    Action.ACK: ACKED,
    Action.NACK: str(Ended.NACK),
    Action.REJECT: str(Ended.REJECT),
    Action.RELEASE: str(Ended.RELEASE),
}


class _Kind(NamedTuple):
    """What is done to records of one run alike."""

    run: Run
    action: Action
    delay_ms: int | None
    reason: str


def settle(queue: Queue, settlements: Sequence[Settlement], *, now_ms: int) -> Decision[list[Settled]]:
    """What came of each, in their order. Of two about one delivery the first one counts."""
    answers: list[Settled] = []
    kinds: dict[_Kind, int] = {}
    taken: dict[Run, int] = {}
    shares = queue.shares
    kind: _Kind | None = None
    bits = before = 0
    """Of ``kind``, and of all of its run that was taken; both are in the maps once another kind comes."""
    for settlement in settlements:
        topic_id, partition, offset = settlement.place
        share = shares.get((topic_id, partition))
        run = share.at.get(offset) if share is not None else None
        if run is None or run.value.lease != settlement.lease or run.value.state != State.LEASED:
            answers.append(_late(share, run, settlement))
            continue
        action = settlement.action
        if (
            kind is None
            or kind.run is not run
            or kind.action is not action
            or kind.delay_ms != settlement.delay_ms
            or kind.reason != settlement.reason
        ):
            if kind is not None:
                kinds[kind], taken[kind.run] = bits, before
            kind = _Kind(run, action, settlement.delay_ms, settlement.reason)
            bits, before = kinds.get(kind, 0), taken.get(run, 0)
        bit = 1 << (offset - run.base)
        if before & bit:
            same = any(
                each_bits & bit and each.run is run and each.action is action
                for each, each_bits in ((kind, bits), *kinds.items())
            )
            answers.append(Settled.ALREADY if same else Settled.LATE)
            continue
        bits |= bit
        before |= bit
        answers.append(Settled.DONE)
    if kind is not None:
        kinds[kind] = bits
    # Where all of a kind came second, nothing is done of it.
    done = {each: each_bits for each, each_bits in kinds.items() if each_bits}
    return Decision(_Ending(queue, now_ms).all(done), answers)


def end(queue: Queue, *, clock_s: float, now_ms: int) -> Decision[int]:
    """One term is over by the monotonic clock (``Queue.visibility``): its records are delivered again, or
    die. How many records that are; 0: nothing is over. Call it until then."""
    ending = _Ending(queue, now_ms)
    records = 0
    for run in queue.visibility.over(clock_s)[:RUNS_PER_STEP]:
        records += run.open.bit_count()
        ending.fail(run, run.open, Ended.TIMEOUT, None, "")
    return Decision(ending.pairs(), records)


def _late(share: SharePartition | None, run: Run | None, settlement: Settlement) -> Settled:
    """What is said of a delivery that is over."""
    action, lease = settlement.action, settlement.lease
    if share is None:
        return Settled.LATE
    offset = settlement.place.offset
    if run is not None or offset in share.ripe:
        value = run.value if run is not None else None
        same = value is not None and value.lease == lease and value.ended == _ENDED.get(action, "")
        return Settled.ALREADY if same and value is not None and value.ended else Settled.LATE
    over = share.over.get(offset)
    if over is not None:
        return Settled.ALREADY if over == (lease, _ENDED.get(action)) else Settled.LATE
    # Settled in the term of another leader, or long ago; or it was never delivered.
    was_passed = offset < share.source.next and not share.is_delayed(offset)
    return Settled.ALREADY if action is Action.ACK and was_passed else Settled.LATE


class _Ending:
    def __init__(self, queue: Queue, now_ms: int) -> None:
        self._queue = queue
        self._state: QueueValue = queue.state
        self._now_ms = now_ms
        self._changes = Changes(queue)
        self._dying = Dying(queue, self._changes, now_ms)
        self._done = self._failed = 0
        self._probed: bool | None = None
        """Whether the delivery that is tried ended well; None: it is not among these."""

    def all(self, kinds: dict[_Kind, int]) -> list[Pair]:
        """Do it."""
        for kind, bits in kinds.items():
            run = kind.run
            if kind.action is Action.EXTEND:
                self._extend(run, bits, kind.delay_ms)
                continue
            if kind.action is Action.RELEASE:
                self._release(run, bits, kind.delay_ms or 0)
                continue
            if kind.action is Action.NACK:
                self.fail(run, bits, Ended.NACK, kind.delay_ms, kind.reason)
                continue
            self._done += bits.bit_count()
            if run.value.lease == self._state.probe:
                self._probed = True
            if kind.action is Action.ACK:
                self._changes.settle(run, bits)
            else:
                self._dying.die(run, bits, Ended.REJECT, kind.reason)
        return self.pairs()

    def fail(self, run: Run, bits: int, ended: Ended, delay_ms: int | None, reason: str) -> None:
        """A delivery came to nothing: the records wait for the next one, or there is none."""
        value, config = run.value, self._state.config
        self._failed += bits.bit_count()
        if value.lease == self._state.probe:
            self._probed = False
        excused = value.excused
        if self._state.breaker != CLOSED:
            excused += 1
        elif value.deliveries - excused >= config.max_deliveries:
            self._dying.die(run, bits, ended, reason)
            return
        if delay_ms is None:
            delays = config.backoff_ms
            delay_ms = delays[min(value.deliveries, len(delays)) - 1] if delays else 0
        self._wait(run, bits, ended, excused, delay_ms, reason)

    def _release(self, run: Run, bits: int, delay_ms: int) -> None:
        """Nobody has begun. A half open queue tries another record, since its lease is over."""
        self._wait(run, bits, Ended.RELEASE, run.value.excused + 1, delay_ms, run.value.reason)

    def _wait(self, run: Run, bits: int, ended: Ended, excused: int, delay_ms: int, reason: str) -> None:
        waiting = msgspec.structs.replace(
            run.value,
            state=State.WAITING,
            excused=excused,
            due_ms=self._now_ms + delay_ms,
            visible_ms=delay_ms,
            ended=ended,
            reason=reason[:REASON_CHARACTERS_MAX],
        )
        self._changes.move(run, bits, waiting)

    def _extend(self, run: Run, bits: int, delay_ms: int | None) -> None:
        visible_ms = self._state.config.visibility_timeout_ms if delay_ms is None else delay_ms
        due_ms = self._now_ms + visible_ms
        while self._queue.visibility.has(run.value.lease, due_ms):
            due_ms += 1  # The time of day was set back: another term, which begins now.
        extended = msgspec.structs.replace(run.value, due_ms=due_ms, visible_ms=visible_ms)
        self._changes.move(run, bits, extended)

    def pairs(self) -> list[Pair]:
        """What it comes to."""
        self._dying.close()
        if self._done or self._failed:
            after = breaker.after(
                self._state,
                self._queue.outcomes,
                self._now_ms,
                done=self._done,
                failed=self._failed,
                probed=self._probed,
            )
            if after is not self._state:
                self._changes.header(after)
        return self._changes.pairs()
