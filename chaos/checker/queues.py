"""What queues promise: every record is settled or pending, what was acknowledged never comes again, keys keep
their order, each dead letter is stored once for each death, nothing is delivered before its time, and dead
letters that are delivered again are held to the same (``queue_replays.py``).

The order of records is that of the disks, so most of it is judged at the end.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chaos.checker.final_state import MISSING, Death, ReplicaState
from chaos.checker.options import Place
from chaos.checker.queue_pauses import At, QueuePauses, place_of
from chaos.checker.queue_replays import QueueReplays
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import (
    Deliveries,
    Delivery,
    End,
    Event,
    Fail,
    FaultBegan,
    Invoke,
    MakeQueue,
    Ok,
    Produce,
    QueueAction,
    QueueState,
    Receive,
    Settle,
    Settlements,
    Settling,
)
from chaos.record_value import FOREIGN, key_of, name_of

_NEVER_NS: Final = 1 << 62
_CLOCK_FAULT: Final = "clock"
_EARLY_NS: Final = 5_000_000
"""A delay is stored in whole milliseconds of the wall clock, which the run's clock only follows."""


@dataclass(slots=True)
class _Record:
    """What is known of one record."""

    delivered: dict[int, Evidence] = field(default_factory=dict)
    """By how many deliveries there had been; the evidence has the time of the answer."""
    asked_ns: int = 0
    """When the last request began that was answered with it."""
    ends_ns: int = _NEVER_NS
    """Before that nobody had begun to settle it for good, as far as answers tell."""
    done: dict[int, Evidence] = field(default_factory=dict)
    """Acknowledgements that were confirmed, by the delivery."""
    settled: Evidence | None = None
    """The first one of these, or of those that were told to be so already."""
    is_rejected: bool = False
    may_be_rejected: bool = False
    may_be_settled: bool = False


class _Letter(NamedTuple):
    """A dead letter on the disks."""

    partition: int
    offset: int
    value: int
    death: Death

    @property
    def evidence(self) -> Evidence:
        """Of it."""
        return Evidence(f"{name_of(self.value)} is a dead letter", None, self.offset, self.value)


class _Queue:
    """One queue and its records. ``letters``: those of each value, in the order of its deaths."""

    def __init__(self, made: MakeQueue, findings: Findings) -> None:
        self.made = made
        self.records: defaultdict[At, _Record] = defaultdict(_Record)
        self.last: QueueState | None = None
        self.replays = QueueReplays()
        self.pauses = None if made.breaker is None else QueuePauses(made.breaker, self._paused)
        self.letters: defaultdict[int, list[_Letter]] = defaultdict(list)
        self._findings = findings

    @property
    def is_empty(self) -> bool:
        """Whether all was settled at the end, as it said itself."""
        return self.last is not None and not self.last.depth

    def death_of(self, at: At, value: int) -> _Letter | None:
        """The letter that a record, or a letter that was delivered again, became."""
        is_again, partition, offset = at
        letters = self.letters.get(value, [])
        if not is_again:
            return letters[0] if letters else None
        later = [each for each in letters if each.partition == partition and each.offset > offset]
        return later[0] if later else None

    def _paused(self, kind: Kind, summary: str, told: Evidence) -> None:
        self._findings.add(kind, f"queue {self.made.queue}: {summary}", told, topic=self.made.topic)


class Queues:
    """Follows workers; a queue is known once it is made."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._queues: dict[str, _Queue] = {}
        self._due: dict[int, tuple[int, Evidence]] = {}
        """value -> the earliest time at which it may be delivered, and what said so"""
        self.acknowledged = 0
        """Records whose acknowledgement was confirmed."""
        self.dead_letters = 0
        self.replayed = 0
        """Of these, those that were delivered again."""

    @property
    def pauses(self) -> int:
        """That queues told of."""
        return sum(each.pauses.count for each in self._queues.values() if each.pauses is not None)

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            self._begins(event)
        elif isinstance(event, FaultBegan) and event.name.startswith(_CLOCK_FAULT):
            for queue in self._queues.values():
                if queue.pauses is not None:
                    queue.pauses.clocks_jump = True
        elif isinstance(event, End) and call is not None and isinstance(call.action, QueueAction):
            self._ends(event, call, call.action)

    def _begins(self, call: Invoke) -> None:
        action = call.action
        if isinstance(action, MakeQueue):
            self._queues.setdefault(action.queue, _Queue(action, self._findings))
        elif isinstance(action, QueueAction):
            queue = self._queues.get(action.queue)
            if queue is not None:
                queue.replays.begins(call, action)
                if queue.pauses is not None:
                    queue.pauses.begins(call, action)
        elif isinstance(action, Produce) and action.delay_ms is not None:
            due_ns = call.time_ns + action.delay_ms * 1_000_000
            sent = _evidence(f"sent with a delay of {action.delay_ms} ms", call, call.time_ns, None)
            self._due.update((value, (due_ns, sent)) for value in action.values)

    def _ends(self, end: End, call: Invoke, action: QueueAction) -> None:
        queue = self._queues.get(action.queue)
        if queue is None:
            return
        result = end.result if isinstance(end, Ok) else None
        if isinstance(result, QueueState):
            queue.last = result
        queue.replays.ends(end, call, action)
        if queue.pauses is not None:
            queue.pauses.ends(end, call, action)
        if not isinstance(action, Receive | Settle):
            return
        told = result.settled if isinstance(result, Settlements | Deliveries) else None
        self._settles(queue, end, call, action, told)
        if isinstance(result, Deliveries):
            for delivery in result.records:
                self._delivers(queue, end, call, delivery)

    def _settles(
        self, queue: _Queue, end: End, call: Invoke, action: Receive | Settle, told: Sequence[str] | None
    ) -> None:
        for number, settling in enumerate(action.settle):
            if isinstance(end, Fail) or settling.action not in ("ack", "reject"):
                continue
            outcome = "unknown" if told is None else told[number]
            if outcome == "late":
                continue
            record = queue.records[place_of(settling)]
            record.may_be_settled = True
            record.may_be_rejected |= settling.action == "reject"
            record.ends_ns = min(record.ends_ns, call.time_ns)
            if outcome != "unknown":
                self._is_settled(record, settling, outcome, end, call)

    def _is_settled(self, record: _Record, settling: Settling, outcome: str, end: End, call: Invoke) -> None:
        if settling.action == "reject":
            record.is_rejected = record.is_rejected or outcome == "done"
            return
        what = f"delivery {settling.deliveries} of it was acknowledged ({outcome})"
        told = _evidence(what, call, end.time_ns, settling.offset)
        if record.settled is None:
            self.acknowledged += 1
            record.settled = told
        if outcome == "done":
            record.done.setdefault(settling.deliveries, told)

    def _delivers(self, queue: _Queue, end: End, call: Invoke, delivery: Delivery) -> None:
        offset, partition = delivery.offset, delivery.partition
        record = queue.records[place_of(delivery)]
        what = f"delivery {delivery.deliveries} to {call.process}"
        mine = _evidence(what, call, end.time_ns, offset, delivery.value)
        before = record.delivered.get(delivery.deliveries)
        if before is not None:
            summary = f"offset {offset} has two deliveries of number {delivery.deliveries}"
            self._add(queue, Kind.TWO_DELIVERIES, partition, summary, before, mine, again=delivery.again)
        if record.settled is not None and call.time_ns > (record.settled.time_ns or 0):
            summary = f"offset {offset} was acknowledged, and delivered to who asked afterwards"
            told = record.settled, mine
            self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, *told, again=delivery.again)
        due = self._due.get(delivery.value)
        if due is not None and end.time_ns < due[0] - _EARLY_NS:
            summary = f"offset {offset} came {(due[0] - end.time_ns) / 1e6:.0f} ms before its time"
            self._add(queue, Kind.DELIVERED_EARLY, partition, summary, due[1], mine)
        record.delivered[delivery.deliveries] = mine
        record.asked_ns = max(record.asked_ns, call.time_ns)

    def finish(self, final: Mapping[Place, Sequence[ReplicaState]]) -> None:
        """Judge what needs the order of records. ``final``: of all topics, those of dead letters included."""
        for queue in self._queues.values():
            logs = [_Log(place, replicas) for place, replicas in sorted(final.items())]
            dead = [log for log in logs if log.topic == queue.made.dead_letter_topic]
            for log in dead:
                for letter in log.letters():
                    queue.letters[letter.value].append(letter)
            self._check_deaths(queue)
            for log in logs:
                if log.topic == queue.made.topic:
                    self._judge(queue, log)
            for log in dead:
                self._judge_letters(queue, log)
            if not queue.is_empty:
                left = "nobody could look" if queue.last is None else f"{queue.last.depth} are left"
                summary = f"queue {queue.made.queue} could not be worked off at the end: {left}"
                self._findings.add(Kind.QUEUE_NOT_EMPTIED, summary, topic=queue.made.topic)
            elif queue.replays.were_listed and queue.replays.last is None:
                summary = f"the dead letters of queue {queue.made.queue} could not be listed at the end"
                self._findings.add(Kind.QUEUE_NOT_EMPTIED, summary, topic=queue.made.topic)

    def _check_deaths(self, queue: _Queue) -> None:
        """Each death has one letter, and only who is delivered again dies again."""
        for value, letters in queue.letters.items():
            self.dead_letters += len(letters)
            for before, letter in itertools.pairwise(letters):
                place = before.partition, before.offset
                is_copy = letter.death in [each.death for each in letters[: letters.index(letter)]]
                if is_copy or queue.replays.asked_ns(place, value) == _NEVER_NS:
                    kind, summary = Kind.DEAD_LETTER_TWICE, f"{name_of(value)} is a dead letter twice"
                    told = before.evidence, letter.evidence
                    self._add(queue, kind, letter.partition, summary, *told, again=True)

    def _judge(self, queue: _Queue, log: _Log) -> None:
        for offset, value in log.records():
            at = (False, log.partition, offset)
            record, letter = self._judge_one(queue, at, value)
            if queue.is_empty and letter is None and (record.is_rejected or not record.may_be_settled):
                what = (
                    "was rejected, and is not a dead letter" if record.is_rejected else "is settled by nobody"
                )
                summary = f"{name_of(value)} at offset {offset} {what}"
                self._add(queue, Kind.QUEUE_LOST, log.partition, summary, *record.delivered.values())
        if queue.made.by_key:
            self._check_keys(queue, log)

    def _judge_one(self, queue: _Queue, at: At, value: int) -> tuple[_Record, _Letter | None]:
        """What holds for records and for letters; the letter that it became."""
        is_again, partition, offset = at
        record, letter = queue.records[at], queue.death_of(at, value)
        for mine in record.delivered.values():
            if mine.value != value:
                summary = f"offset {offset} holds {name_of(value)}, and something else was delivered"
                self._add(queue, Kind.WRONG_DELIVERY, partition, summary, mine, again=is_again)
        for number, done in record.done.items():
            for later in (each for count, each in record.delivered.items() if count > number):
                summary = f"offset {offset} was acknowledged, and delivered again"
                self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, done, later, again=is_again)
            if letter is not None:
                summary = f"offset {offset} was acknowledged, and is a dead letter"
                told = done, letter.evidence
                self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, *told, again=is_again)
        if letter is not None and letter.death.deliveries and not record.may_be_rejected:
            excused = queue.pauses.excused[at] if queue.pauses is not None else 0
            counted = letter.death.deliveries - excused
            if counted < queue.made.max_deliveries:
                summary = (
                    f"{name_of(value)} at offset {offset} died after {letter.death.deliveries} deliveries, "
                    f"{excused} of which failed in a pause"
                )
                told_all = (*record.delivered.values(), letter.evidence)
                self._add(queue, Kind.DIED_EARLY, partition, summary, *told_all, again=is_again)
        return record, letter

    def _judge_letters(self, queue: _Queue, log: _Log) -> None:
        """Those that are delivered again: only because somebody wants it, and then until they are settled."""
        replays, partition = queue.replays, log.partition
        for offset, value in log.records():
            place = (partition, offset)
            record, letter = self._judge_one(queue, (True, *place), value)
            delivered = list(record.delivered.values())
            self.replayed += bool(delivered)
            unasked = [each for each in delivered if (each.time_ns or 0) < replays.asked_ns(place, value)]
            if unasked:
                summary = f"the letter at offset {offset} was delivered, and nobody had asked for that"
                self._add(queue, Kind.REPLAYED_UNASKED, partition, summary, *unasked, again=True)
            purged = replays.purged.get(place)
            if purged is not None and delivered:
                summary = f"the letter at offset {offset} was purged, and delivered"
                self._add(queue, Kind.REPLAYED_UNASKED, partition, summary, purged, *delivered, again=True)
            if queue.is_empty and replays.last is not None:
                self._check_listed(queue, place, value, record, letter)
        if queue.made.by_key:
            self._check_letters_keys(queue, log)

    def _check_listed(
        self, queue: _Queue, place: tuple[int, int], value: int, record: _Record, letter: _Letter | None
    ) -> None:
        replays, (partition, offset) = queue.replays, place
        assert replays.last is not None, "looked for before"
        told = list(record.delivered.values())
        if place in replays.last:
            wrong = ""
            if record.done or letter is not None:
                wrong = "was settled"
            elif replays.purged.get(place) is not None:
                wrong = "was purged"
            elif replays.last[place]:
                wrong = "is on its way, in a queue that has nothing left"
            elif replays.is_sure(place, value):
                wrong = "was to be delivered again"
            if wrong:
                summary = f"the letter at offset {offset} {wrong}, and is listed"
                self._add(queue, Kind.STILL_LISTED, partition, summary, *told, again=True)
            return
        is_over = letter is not None or (record.may_be_settled and not record.is_rejected)
        if not is_over and place not in replays.purged:
            summary = f"the letter at offset {offset} is not listed, and is settled by nobody"
            self._add(queue, Kind.QUEUE_LOST, partition, summary, *told, again=True)

    def _check_keys(self, queue: _Queue, log: _Log) -> None:
        """No record of a key is delivered while an earlier one is certainly not settled."""
        blocking: dict[bytes, tuple[int, int]] = {}
        """key -> until when one of the earlier ones was certainly not settled, and its offset"""
        for offset, value in log.records():
            record, key = queue.records[False, log.partition, offset], key_of(value)
            until_ns, earlier = blocking.get(key, (0, -1))
            self._check_overtaken(queue, (False, log.partition, offset), earlier, until_ns)
            # A delayed one has its place among the others only once it is due.
            is_dead = value in queue.letters
            if value not in self._due and (open_ns := _open_until(record, is_dead=is_dead)) > until_ns:
                blocking[key] = open_ns, offset

    def _check_letters_keys(self, queue: _Queue, log: _Log) -> None:
        """Nor a letter while an earlier one of its key is, that came into the queue before it or with it."""
        replays = queue.replays
        earlier: defaultdict[bytes, list[tuple[int, int, int]]] = defaultdict(list)
        """key -> offset and value of letters, and until when they were certainly not settled"""
        for offset, value in log.records():
            at = (True, log.partition, offset)
            record, place = queue.records[at], (log.partition, offset)
            for before, other, until_ns in earlier[key_of(value)]:
                if record.delivered and replays.is_before(((log.partition, before), other), (place, value)):
                    self._check_overtaken(queue, at, before, until_ns)
            if place not in replays.purged:
                is_dead = queue.death_of(at, value) is not None
                earlier[key_of(value)].append((offset, value, _open_until(record, is_dead=is_dead)))

    def _check_overtaken(self, queue: _Queue, at: At, earlier: int, until_ns: int) -> None:
        is_again, partition, offset = at
        for mine in queue.records[at].delivered.values():
            if (mine.time_ns or 0) < until_ns:
                open_ = queue.records[is_again, partition, earlier]
                summary = f"offset {offset} was delivered before offset {earlier} of its key was settled"
                told = mine, *open_.delivered.values()
                self._add(queue, Kind.KEY_OVERTAKEN, partition, summary, *told, again=is_again)
                break

    def _add(
        self,
        queue: _Queue,
        kind: Kind,
        partition: int,
        summary: str,
        *evidence: Evidence,
        again: bool = False,
    ) -> None:
        topic = queue.made.dead_letter_topic if again else queue.made.topic
        self._findings.add(kind, summary, *evidence, topic=topic, partition=partition)


class _Log:
    """The records of one partition, on the replica that has most."""

    def __init__(self, place: Place, replicas: Sequence[ReplicaState]) -> None:
        self.topic, self.partition = place
        self._replica = max(replicas, key=lambda replica: replica.next_offset)

    def records(self) -> Iterator[tuple[int, int]]:
        """Offset and value of each."""
        for offset, value in enumerate(self._replica.values, self._replica.start_offset):
            if value not in (MISSING, FOREIGN):
                yield offset, value

    def letters(self) -> Iterator[_Letter]:
        """Each as the dead letter that it is."""
        deaths = self._replica.deaths
        for offset, value in self.records():
            yield _Letter(self.partition, offset, value, deaths.get(offset, Death()))


def _open_until(record: _Record, *, is_dead: bool) -> int:
    """Before that it was certainly not settled: its last delivery had not been asked for, or nobody had begun
    to settle it.
    """
    # A dead one may have ended by a delivery of which no answer came.
    return record.asked_ns if is_dead else max(record.asked_ns, record.ends_ns)


def _evidence(
    what: str, call: Invoke, time_ns: int, offset: int | None, value: int | None = None
) -> Evidence:
    return Evidence(what, time_ns, offset, value, call.node, call.process, call.op)
