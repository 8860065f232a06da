"""What one client saw in the log is not denied to a later request.

A tail is confirmed by a majority after it began, so it must cover everything that any acknowledgement, read
or tail had shown before; the same holds for the refusal of a read past the end. A poll is answered by a node
that believes it is the leader, so it must cover what its own process was shown by reads and tails, or, with
``reads_are_confirmed``, what any process was shown. Excepted are nodes under a fault, or shortly after one:
they may have been deposed without knowing it, and then know only their own answers.
"""

from __future__ import annotations

from typing import Final

from chaos.checker.options import CheckOptions, Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import (
    Bounds,
    Event,
    Fail,
    FaultBegan,
    FaultEnded,
    Invoke,
    Ok,
    Page,
    Produce,
    Produced,
    Read,
    Tail,
)

_UNAWARE_NS: Final = 2_000_000_000
"""Longer than any leader stays leader without a majority."""
_Ends = dict[tuple[str, Place], Evidence]


class Freshness:
    """The highest end shown, overall and to each process, when each operation began."""

    def __init__(self, options: CheckOptions, findings: Findings) -> None:
        self._options = options
        self._findings = findings
        self._stored: _Ends = {}
        self._shown: _Ends = {}
        self._floors: dict[int, Evidence] = {}
        self._confirmed: dict[int, Evidence] = {}
        """What the end in the refusal of a read, which is confirmed, has to cover."""
        self._faults: dict[int, list[str]] = {}
        self._faulty_until_ns: dict[str, int] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            self._begin(event)
        elif isinstance(event, FaultBegan):
            self._faults[event.fault] = event.nodes
        elif isinstance(event, FaultEnded):
            until_ns = event.time_ns + _UNAWARE_NS
            self._faulty_until_ns.update(dict.fromkeys(self._faults.pop(event.fault), until_ns))
        elif call is not None and isinstance(call.action, Produce | Read | Tail):
            floor, confirmed = self._floors.pop(call.op, None), self._confirmed.pop(call.op, None)
            if isinstance(event, Ok):
                self._answered(call, call.action, event, floor)
            elif isinstance(event, Fail) and event.high_watermark is not None and confirmed is not None:
                self._compare(call, call.action, event, event.high_watermark, confirmed)

    def _begin(self, call: Invoke) -> None:
        if isinstance(call.action, Tail):
            floor = self._stored.get(("", _place(call.action)))
        elif isinstance(call.action, Read):
            stored = self._stored.get(("", _place(call.action)))
            if stored is not None:
                self._confirmed[call.op] = stored
            process = "" if self._options.reads_are_confirmed else call.process
            floor = self._shown.get((process, _place(call.action)))
        else:
            return
        if floor is not None:
            self._floors[call.op] = floor

    def _answered(
        self, call: Invoke, action: Produce | Read | Tail, event: Ok, floor: Evidence | None
    ) -> None:
        if isinstance(event.result, Produced):
            assert isinstance(action, Produce)
            if event.result.first_offset >= 0 and action.acks == "quorum":
                end = event.result.first_offset + len(action.values)
                self._raise(self._stored, ("", _place(action)), _evidence(call, event, end))
            return
        assert isinstance(event.result, Bounds | Page)
        evidence = _evidence(call, event, event.result.high_watermark)
        self._raise(self._stored, ("", _place(action)), evidence)
        self._raise(self._shown, ("", _place(action)), evidence)
        self._raise(self._shown, (call.process, _place(action)), evidence)
        if floor is None:
            return
        if isinstance(action, Tail) or floor.node == event.node or not self._may_be_unaware(event):
            self._compare(call, action, event, event.result.high_watermark, floor)

    def _may_be_unaware(self, event: Ok) -> bool:
        """Whether the node that answered may have been deposed without knowing it yet."""
        if self._options.reads_are_confirmed:
            return False
        in_force = any(event.node in nodes for nodes in self._faults.values())
        return in_force or event.time_ns <= self._faulty_until_ns.get(event.node, -1)

    def _raise(self, ends: _Ends, key: tuple[str, Place], evidence: Evidence) -> None:
        known = ends.get(key)
        if known is None or (known.offset or 0) < (evidence.offset or 0):
            ends[key] = evidence

    def _compare(
        self, call: Invoke, action: Produce | Read | Tail, event: Ok | Fail, end: int, floor: Evidence
    ) -> None:
        if floor.offset is not None and end < floor.offset:
            what = "tail" if isinstance(action, Tail) else "read"
            self._findings.add(
                Kind.STALE_READ,
                f"a {what} answered that the log ends at {end}; it was shown to reach {floor.offset} before",
                floor,
                _evidence(call, event, end),
                topic=action.topic,
                partition=action.partition,
            )


def _place(action: Produce | Read | Tail) -> Place:
    return action.topic, action.partition


def _evidence(call: Invoke, event: Ok | Fail, end: int) -> Evidence:
    what = f"{call.process} was told that the log reaches offset {end}"
    return Evidence(what, event.time_ns, end, None, event.node, call.process, call.op)
