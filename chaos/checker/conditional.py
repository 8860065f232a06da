"""Appends with If-Offset behave as if one node took them, one after the other: compare the end, and append.

It checks the partitions whose first append has If-Offset; an append without it goes to whatever the end is.
Tails, refusals with the next offset, and refused reads past the end tell the end at that moment. The outcome
of an append without an answer is looked up on the disks, if they were read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from chaos.checker.chunked_ints import ABSENT
from chaos.checker.linearizability import Operation, Outcome, Verdict, search
from chaos.checker.options import CheckOptions, Place
from chaos.checker.placement import Placement
from chaos.checker.records import Records
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Bounds, End, Event, Fail, Invoke, Ok, Produce, Produced, Read, Tail

OFFSET_MISMATCH: Final = "offset_mismatch"
OFFSET_PAST_END: Final = "offset_past_end"
_NEVER_NS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on a partition, its result if that tells anything, and its offset if known."""

    call: Invoke
    action: Produce | Read | Tail
    end: End | None
    stands_at: int | None = None


class Conditional:
    """Collects the operations of each partition, and searches for an order at the end."""

    def __init__(self, options: CheckOptions, records: Records, findings: Findings) -> None:
        self._options = options
        self._records = records
        self._findings = findings
        self._open: dict[int, tuple[Place, Call]] = {}
        self._places: dict[Place, list[Operation[Call]] | None] = {}
        """place -> its operations; None for a partition that is not checked."""
        self.operations = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke) and isinstance(event.action, Produce | Read | Tail):
            action = event.action
            place = (action.topic, action.partition)
            if isinstance(action, Produce) and place not in self._places:
                self._places[place] = None if action.if_offset is None else []
            if self._places.get(place) is not None:
                self._open[event.op] = place, Call(event, action, None)
        elif call is not None and isinstance(event, End) and call.op in self._open:
            place, begun = self._open.pop(call.op)
            self._ended(place, replace(begun, end=event))

    def finish(self, placement: Placement, on_disk: Collection[Place]) -> None:
        """Search every such partition. ``on_disk``: the partitions whose replicas were read."""
        for place, call in self._open.values():
            self._ended(place, call)
        self._open.clear()
        for place, begun in sorted(self._places.items()):
            found = (self._settled(operation, place, placement, on_disk) for operation in begun or ())
            operations = [operation for operation in found if operation is not None]
            operations.sort(key=lambda operation: operation.began_ns)
            self.operations += len(operations)
            steps_max = self._options.search_steps_max
            outcome = search(operations, 0, step, only_looks=only_looks, steps_max=steps_max)
            if outcome.verdict is not Verdict.LINEARIZABLE:
                self._report(place, operations, outcome)

    def _ended(self, place: Place, what: Call) -> None:
        end = what.end
        if not _tells_anything(what):
            return
        is_known = isinstance(end, Fail) or (isinstance(end, Ok) and not _is_open(what))
        ended_ns = end.time_ns if is_known and end is not None else None
        operations = self._places[place]
        assert operations is not None, "others are not begun"
        operations.append(Operation(what.call.time_ns, ended_ns, what))

    def _settled(
        self, operation: Operation[Call], place: Place, placement: Placement, on_disk: Collection[Place]
    ) -> Operation[Call] | None:
        """The outcome of an append without an answer; None if it was not stored."""
        what = operation.what
        if operation.ended_ns is not None or not isinstance(what.action, Produce):
            return operation
        packed = placement.place[what.action.values[0]]
        if packed == ABSENT:
            return None if place in on_disk else operation
        _, offset = self._records.places.unpack(packed)
        return Operation(operation.began_ns, _NEVER_NS, replace(what, stands_at=offset))

    def _report(self, place: Place, operations: list[Operation[Call]], found: Outcome[Call]) -> None:
        topic, partition = place
        if found.verdict is Verdict.GIVEN_UP:
            summary = f"no order of {len(operations)} appends was found in {found.steps} steps"
            self._findings.add(Kind.UNDECIDED, summary, topic=topic, partition=partition)
            return
        assert found.stuck_at is not None
        stuck = _evidence(found.stuck_at)
        order = [_evidence(operation) for operation in found.order]
        summary = f"no order explains {stuck.what}, after the {len(order)} that can be put in one"
        # It contradicts the newest operations of the order.
        self._findings.add(
            Kind.NOT_LINEARIZABLE, summary, stuck, *reversed(order), topic=topic, partition=partition
        )


def step(end: int, what: Call) -> tuple[bool, int]:
    """Whether this may happen while the partition ends at ``end``, and its end after that."""
    action = what.action
    if not isinstance(action, Produce):
        return end == _told_end(what), end
    if isinstance(what.end, Fail):
        return end != action.if_offset and what.end.next_offset in (None, end), end
    is_met = action.if_offset in (None, end)
    first_offset = _first_offset(what)
    if first_offset is None:
        return True, end + len(action.values) if is_met else end
    return is_met and first_offset == end, end + len(action.values)


def only_looks(what: Call) -> bool:
    """Whether it tells the end and never moves it."""
    return not isinstance(what.action, Produce) or isinstance(what.end, Fail)


def _first_offset(what: Call) -> int | None:
    if what.stands_at is not None:
        return what.stands_at
    if isinstance(what.end, Ok) and isinstance(what.end.result, Produced) and not _is_open(what):
        return what.end.result.first_offset
    return None


def _told_end(what: Call) -> int | None:
    if isinstance(what.end, Fail):
        return what.end.high_watermark
    assert isinstance(what.end, Ok)
    return what.end.result.high_watermark if isinstance(what.end.result, Bounds) else None


def _is_open(what: Call) -> bool:
    """Whether an answer leaves open where, or whether, the records are stored for good."""
    action, end = what.action, what.end
    if not isinstance(action, Produce) or not isinstance(end, Ok):
        return False
    return action.acks != "quorum" or not isinstance(end.result, Produced) or end.result.first_offset < 0


def _tells_anything(what: Call) -> bool:
    """Whether it tells the log's end, or may have moved it. Other failures had no effect."""
    action, end = what.action, what.end
    if isinstance(action, Produce):
        return not isinstance(end, Fail) or end.error == OFFSET_MISMATCH
    if isinstance(end, Fail):
        return end.error == OFFSET_PAST_END and end.high_watermark is not None
    return isinstance(action, Tail) and isinstance(end, Ok)


def _evidence(operation: Operation[Call]) -> Evidence:
    what, end = operation.what, operation.what.end
    action = msgspec.json.encode(what.action).decode()
    answer = "unknown" if end is None else msgspec.json.encode(end).decode()
    if what.stands_at is not None:
        answer = f"{answer}, stored at offset {what.stands_at}"
    node = what.call.node if end is None else end.node
    text = f"{action} -> {answer}"
    return Evidence(text, what.call.time_ns, what.stands_at, None, node, what.call.process, what.call.op)
