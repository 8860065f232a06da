"""The times when nothing could be stored for long, in one partition or in all."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

from chaos.checker.options import Place
from chaos.history import Event, Invoke, PauseBegan, PauseEnded, Produce
from chaos.report import document
from chaos.report.outcomes import is_acknowledged
from chaos.report.timescale import Timescale

OUTAGE_S_MIN: Final = 1.0
OUTAGES_MAX: Final = 1_000

_ANY: Final = ("", -1)
"""Stands for all partitions together: the cluster."""


@dataclass(slots=True)
class _Writes:
    """Since when nothing was stored, and when it was last tried."""

    stored_ns: int
    tried_ns: int


class OutageMaker:
    """Keeps the longest. Counts from one stored produce to the next, or to the last attempt.

    A pause of the workload parts an outage in two: before it, and from its end on.
    """

    def __init__(self, times: Timescale) -> None:
        self._times = times
        self._writes: dict[Place, _Writes] = {}
        self._pausing: set[Place] = set()
        self._longest: list[tuple[int, int, Place]] = []
        self.left_out = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; ``call`` is what it ends."""
        if isinstance(event, PauseBegan | PauseEnded):
            self._pause(event)
            return
        began = event if isinstance(event, Invoke) else call
        if began is None or not isinstance(began.action, Produce):
            return
        stored = call is not None and is_acknowledged(event, call)
        for place in ((began.action.topic, began.action.partition), _ANY):
            writes = self._writes.setdefault(place, _Writes(event.time_ns, event.time_ns))
            writes.tried_ns = event.time_ns
            if stored:
                self._add(place, writes.stored_ns, event.time_ns)
                writes.stored_ns = event.time_ns

    def finish(self) -> list[document.Outage]:
        """In the order that they began."""
        for place, writes in self._writes.items():
            self._add(place, writes.stored_ns, writes.tried_ns)
        found = sorted(self._longest, key=lambda outage: outage[1:])
        return [
            document.Outage(
                topic=place[0],
                partition=None if place == _ANY else place[1],
                from_s=self._times.seconds(began_ns),
                to_s=self._times.seconds(began_ns + length_ns),
            )
            for length_ns, began_ns, place in found
        ]

    def _pause(self, event: PauseBegan | PauseEnded) -> None:
        place = (event.topic, event.partition)
        all_pause = self._pausing >= self._writes.keys() - {_ANY}
        self._pausing ^= {place}
        if all_pause or self._pausing >= self._writes.keys() - {_ANY}:
            self._part(_ANY, event)
        self._part(place, event)

    def _part(self, place: Place, event: PauseBegan | PauseEnded) -> None:
        writes = self._writes.get(place)
        if writes is None:
            return
        if isinstance(event, PauseBegan):
            self._add(place, writes.stored_ns, writes.tried_ns)
        writes.stored_ns = writes.tried_ns = event.time_ns

    def _add(self, place: Place, began_ns: int, ended_ns: int) -> None:
        length_ns = ended_ns - began_ns
        if length_ns < OUTAGE_S_MIN * 1e9:
            return
        heapq.heappush(self._longest, (length_ns, began_ns, place))
        if len(self._longest) > OUTAGES_MAX:
            heapq.heappop(self._longest)
            self.left_out += 1
