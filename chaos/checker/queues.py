"""What queues promise: every record is settled or pending, what was acknowledged never comes again, keys keep
their order, each dead letter is stored once, and nothing is delivered before its time.

The order of records is that of the disks, so most of it is judged at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.checker.final_state import MISSING, ReplicaState
from chaos.checker.options import Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import (
    Deliveries,
    Delivery,
    End,
    Event,
    Fail,
    Invoke,
    LookAtQueue,
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

_At = tuple[int, int]
"""A record of the queue's topic: partition and offset."""
_NEVER_NS: Final = 1 << 62
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
    may_be_settled: bool = False


class _Queue:
    """One queue and its records."""

    def __init__(self, made: MakeQueue) -> None:
        self.made = made
        self.records: defaultdict[_At, _Record] = defaultdict(_Record)
        self.last: QueueState | None = None


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

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            self._begins(event)
        elif isinstance(event, End) and call is not None and isinstance(call.action, QueueAction):
            self._ends(event, call, call.action)

    def _begins(self, call: Invoke) -> None:
        action = call.action
        if isinstance(action, MakeQueue):
            self._queues.setdefault(action.queue, _Queue(action))
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
        if isinstance(action, LookAtQueue | MakeQueue):
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
            record = queue.records[settling.partition, settling.offset]
            record.may_be_settled = True
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
        record = queue.records[partition, offset]
        what = f"delivery {delivery.deliveries} to {call.process}"
        mine = _evidence(what, call, end.time_ns, offset, delivery.value)
        before = record.delivered.get(delivery.deliveries)
        if before is not None:
            summary = f"offset {offset} has two deliveries of number {delivery.deliveries}"
            self._add(queue, Kind.TWO_DELIVERIES, partition, summary, before, mine)
        if record.settled is not None and call.time_ns > (record.settled.time_ns or 0):
            summary = f"offset {offset} was acknowledged, and delivered to who asked afterwards"
            self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, record.settled, mine)
        due = self._due.get(delivery.value)
        if due is not None and end.time_ns < due[0] - _EARLY_NS:
            summary = f"offset {offset} came {(due[0] - end.time_ns) / 1e6:.0f} ms before its time"
            self._add(queue, Kind.DELIVERED_EARLY, partition, summary, due[1], mine)
        record.delivered[delivery.deliveries] = mine
        record.asked_ns = max(record.asked_ns, call.time_ns)

    def finish(self, final: Mapping[Place, Sequence[ReplicaState]]) -> None:
        """Judge what needs the order of records. ``final``: of all topics, those of dead letters included."""
        for queue in self._queues.values():
            dead = self._dead(queue, final)
            for place, replicas in sorted(final.items()):
                if place[0] == queue.made.topic:
                    self._judge(queue, _Log(place[1], replicas), dead)
            if queue.last is None or queue.last.depth:
                left = "nobody could look" if queue.last is None else f"{queue.last.depth} are left"
                summary = f"queue {queue.made.queue} could not be worked off at the end: {left}"
                self._findings.add(Kind.QUEUE_NOT_EMPTIED, summary, topic=queue.made.topic)

    def _dead(self, queue: _Queue, final: Mapping[Place, Sequence[ReplicaState]]) -> dict[int, Evidence]:
        """value -> its dead letter."""
        found: dict[int, Evidence] = {}
        for (topic, partition), replicas in sorted(final.items()):
            if topic != queue.made.dead_letter_topic:
                continue
            for offset, value in _Log(partition, replicas).records():
                letter = Evidence(f"{name_of(value)} is a dead letter", None, offset, value)
                if value in found:
                    kind, summary = Kind.DEAD_LETTER_TWICE, f"{name_of(value)} is a dead letter twice"
                    self._findings.add(kind, summary, found[value], letter, topic=topic, partition=partition)
                found.setdefault(value, letter)
        self.dead_letters += len(found)
        return found

    def _judge(self, queue: _Queue, log: _Log, dead: Mapping[int, Evidence]) -> None:
        is_empty = queue.last is not None and not queue.last.depth
        for offset, value in log.records():
            record = queue.records[log.partition, offset]
            letter = dead.get(value)
            for mine in record.delivered.values():
                if mine.value != value:
                    summary = f"offset {offset} holds {name_of(value)}, and something else was delivered"
                    self._add(queue, Kind.WRONG_DELIVERY, log.partition, summary, mine)
            self._check_done(queue, log.partition, record, letter)
            if is_empty and letter is None and (record.is_rejected or not record.may_be_settled):
                what = "was rejected, and is no dead letter" if record.is_rejected else "is settled by nobody"
                summary = f"{name_of(value)} at offset {offset} {what}"
                self._add(queue, Kind.QUEUE_LOST, log.partition, summary, *record.delivered.values())
        if queue.made.by_key:
            self._check_keys(queue, log, dead)

    def _check_done(self, queue: _Queue, partition: int, record: _Record, letter: Evidence | None) -> None:
        for number, done in record.done.items():
            for later in (each for count, each in record.delivered.items() if count > number):
                summary = f"offset {done.offset} was acknowledged, and delivered again"
                self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, done, later)
            if letter is not None:
                summary = f"offset {done.offset} was acknowledged, and is a dead letter"
                self._add(queue, Kind.ACKED_CAME_AGAIN, partition, summary, done, letter)

    def _check_keys(self, queue: _Queue, log: _Log, dead: Mapping[int, Evidence]) -> None:
        """No record of a key is delivered while an earlier one is certainly not settled."""
        blocking: dict[bytes, tuple[int, int]] = {}
        """key -> until when one of the earlier ones was certainly not settled, and its offset"""
        for offset, value in log.records():
            record, key = queue.records[log.partition, offset], key_of(value)
            until_ns, earlier = blocking.get(key, (0, -1))
            for mine in record.delivered.values():
                if (mine.time_ns or 0) < until_ns:
                    open_ = queue.records[log.partition, earlier]
                    summary = f"offset {offset} was delivered before offset {earlier} of its key was settled"
                    self._add(
                        queue, Kind.KEY_OVERTAKEN, log.partition, summary, mine, *open_.delivered.values()
                    )
                    break
            # A delayed one has its place among the others only once it is due.
            if value not in self._due and (open_ns := _open_until(record, is_dead=value in dead)) > until_ns:
                blocking[key] = open_ns, offset

    def _add(self, queue: _Queue, kind: Kind, partition: int, summary: str, *evidence: Evidence) -> None:
        self._findings.add(kind, summary, *evidence, topic=queue.made.topic, partition=partition)


class _Log:
    """The records of one partition, on the replica that has most."""

    def __init__(self, partition: int, replicas: Sequence[ReplicaState]) -> None:
        self.partition = partition
        self._replica = max(replicas, key=lambda replica: replica.next_offset)

    def records(self) -> Iterator[tuple[int, int]]:
        """Offset and value of each."""
        for offset, value in enumerate(self._replica.values, self._replica.start_offset):
            if value not in (MISSING, FOREIGN):
                yield offset, value


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
