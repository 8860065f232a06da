"""What was shown to be in the log is not denied to whoever asks later.

A tail is confirmed by a majority after it began: it must cover all that any acknowledgement, read or tail had
shown before. A poll is answered by whoever leads as far as it knows, so it must cover what its own process
was shown by reads and tails, or, with ``reads_are_confirmed``, what any process was.
"""

from __future__ import annotations

from chaos.checker.options import CheckOptions, Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Bounds, Event, Fail, Invoke, Ok, Page, Produce, Produced, Read, Tail

_Ends = dict[tuple[str, Place], Evidence]


class Freshness:
    """The highest end that was shown, in all and to each process, when each operation began."""

    def __init__(self, options: CheckOptions, findings: Findings) -> None:
        self._options = options
        self._findings = findings
        self._stored: _Ends = {}
        self._shown: _Ends = {}
        self._floors: dict[int, Evidence] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            self._begin(event)
        elif call is not None and isinstance(call.action, Produce | Read | Tail):
            floor = self._floors.pop(call.op, None)
            if isinstance(event, Ok):
                self._answered(call, call.action, event, floor)
            elif isinstance(event, Fail) and event.high_watermark is not None and floor is not None:
                self._compare(call, call.action, event, event.high_watermark, floor)

    def _begin(self, call: Invoke) -> None:
        if isinstance(call.action, Tail):
            floor = self._stored.get(("", _place(call.action)))
        elif isinstance(call.action, Read):
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
        if floor is not None:
            self._compare(call, action, event, event.result.high_watermark, floor)

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
