"""Removes from a history what a recovery from the loss of a majority may cost, before it is judged.

A recovery names for each partition the offset from which on acknowledged records may be lost. What clients
were told about those offsets before is discounted: acknowledgements become unknown; pages, tails and
refusals are read as if the log had ended there. Everything else has to keep every promise, even across the
recovery.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from chaos.checker.options import Place
from chaos.history import (
    Bounds,
    End,
    Event,
    Fail,
    Invoke,
    Leads,
    Ok,
    Page,
    Produce,
    Produced,
    Read,
    Recovered,
    Run,
    Tail,
    Unknown,
)

_SESSIONS_MAX: Final = 1 << 32
"""Before a recovery; those after it are others, which may begin anywhere."""
_REASON: Final = "given up by a recovery"


def without_given_up(history: Iterable[Event], recoveries: Sequence[Recovered]) -> Iterator[Event]:
    """The history without what the recoveries, in order, gave up."""
    return _Rewriting(recoveries).events(history)


class _Rewriting:
    def __init__(self, recoveries: Sequence[Recovered]) -> None:
        self._times_ns = [each.time_ns for each in recoveries]
        self._cuts: dict[Place, list[tuple[int, int]]] = {}
        """place -> when, and the offset from which on all may be lost"""
        self._emptied: set[Place] = set()
        for each in recoveries:
            for lost in each.given_up:
                place = (lost.topic, lost.partition)
                self._cuts.setdefault(place, []).append((each.time_ns, max(0, lost.offset)))
                if lost.offset < 0:
                    self._emptied.add(place)
        self._open: dict[int, Produce | Read | Tail] = {}

    def events(self, history: Iterable[Event]) -> Iterator[Event]:
        for event in history:
            if isinstance(event, Invoke):
                yield self._begun(event)
            elif isinstance(event, End):
                action = self._open.pop(event.op, None)
                yield event if action is None else self._ended(event, action)
            elif isinstance(event, Leads):
                yield self._leads(event)
            else:
                yield event

    def _begun(self, event: Invoke) -> Invoke:
        action = event.action
        if not isinstance(action, Produce | Read | Tail):
            return event
        place = (action.topic, action.partition)
        if place not in self._cuts:
            return event
        self._open[event.op] = action
        if isinstance(action, Read):
            session = action.session + _SESSIONS_MAX * self._count(event.time_ns)
            return msgspec.structs.replace(event, action=msgspec.structs.replace(action, session=session))
        if isinstance(action, Produce) and place in self._emptied:
            # Its offsets continue elsewhere, which no order of appends from 0 on explains.
            return msgspec.structs.replace(event, action=msgspec.structs.replace(action, if_offset=None))
        return event

    def _ended(self, event: End, action: Produce | Read | Tail) -> End:
        cuts = self._cuts[action.topic, action.partition]
        end = min((offset for time_ns, offset in cuts if time_ns >= event.time_ns), default=None)
        if end is None or isinstance(event, Unknown):
            return event
        unknown = Unknown(event.op, event.time_ns, _REASON, event.node)
        if isinstance(event, Fail):
            told = max(event.high_watermark or 0, event.next_offset or 0)
            return unknown if told > end else event
        return _told_less(event, action, end) or unknown

    def _leads(self, event: Leads) -> Leads:
        count = self._count(event.time_ns)
        return msgspec.structs.replace(event, group=f"{event.group}+{count}") if count else event

    def _count(self, time_ns: int) -> int:
        """Number of recoveries up to then."""
        return sum(each < time_ns for each in self._times_ns)


def _told_less(event: Ok, action: Produce | Read | Tail, end: int) -> Ok | None:
    """The answer of a log that ends at ``end``; None if there would be none."""
    result = event.result
    if isinstance(result, Produced) and isinstance(action, Produce):
        return event if result.first_offset + len(action.values) <= end else None
    if isinstance(result, Bounds):
        less = Bounds(min(result.start_offset, end), min(result.high_watermark, end))
        return msgspec.structs.replace(event, result=less)
    if isinstance(result, Page) and isinstance(action, Read) and action.offset <= end:
        runs = [Run(run.first_offset, run.values[: end - run.first_offset]) for run in result.runs]
        page = Page(
            [run for run in runs if run.first_offset < end and run.values],
            min(result.next_offset, end),
            min(result.high_watermark, end),
        )
        return msgspec.structs.replace(event, result=page)
    return None
