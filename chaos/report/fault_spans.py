"""The times at which each fault was in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chaos.checker.gaps import Gap
from chaos.history import Event, FaultBegan, FaultEnded, Invoke
from chaos.report import document
from chaos.report.timescale import Timescale

FAULTS_MAX: Final = 1_000


class FaultMaker:
    """Keeps the first faults; one that never ended was in force to the end."""

    def __init__(self, times: Timescale) -> None:
        self._times = times
        self._began: list[FaultBegan] = []
        self._ended_ns: dict[int, int] = {}
        self.left_out = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        del call
        if isinstance(event, FaultBegan):
            if len(self._began) < FAULTS_MAX:
                self._began.append(event)
            else:
                self.left_out += 1
        elif isinstance(event, FaultEnded):
            self._ended_ns[event.fault] = event.time_ns

    def finish(self, gaps: tuple[Gap, ...]) -> list[document.Fault]:
        """In the order that they began, each with what it cost."""
        longest = {gap.fault: gap for gap in gaps}
        return [self._span(began, longest) for began in self._began]

    def _span(self, began: FaultBegan, longest: Mapping[int | None, Gap]) -> document.Fault:
        kind, _, aim = began.name.partition(" on ")
        ended_ns = self._ended_ns.get(began.fault, max(self._times.ended_ns, began.time_ns))
        return document.Fault(
            number=began.fault,
            kind=kind,
            aim=aim,
            nodes=list(began.nodes),
            from_s=self._times.seconds(began.time_ns),
            to_s=self._times.seconds(ended_ns),
            longest_gap=gap_of(longest.get(began.fault), self._times),
        )


def gap_of(gap: Gap | None, times: Timescale) -> document.Gap | None:
    """The checker's gap in the form of the report."""
    if gap is None:
        return None
    return document.Gap(
        topic=gap.topic,
        partition=gap.partition,
        from_s=times.seconds(gap.began_ns),
        to_s=times.seconds(gap.ended_ns),
        seconds=round(gap.seconds, 4),
    )
