"""The pauses of the workload, partition by partition."""

from __future__ import annotations

from typing import Final

from chaos.checker.options import Place
from chaos.history import Event, Invoke, PauseBegan, PauseEnded
from chaos.report import document
from chaos.report.timescale import Timescale

PAUSES_MAX: Final = 2_000


class PauseMaker:
    """Keeps the first pauses; one that never ended lasted to the end."""

    def __init__(self, times: Timescale) -> None:
        self._times = times
        self._began_ns: dict[Place, int] = {}
        self._pauses: list[document.Pause] = []
        self.left_out = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        del call
        if isinstance(event, PauseBegan):
            self._began_ns[event.topic, event.partition] = event.time_ns
        elif isinstance(event, PauseEnded):
            self._add((event.topic, event.partition), event.time_ns)

    def finish(self) -> list[document.Pause]:
        """In the order that they ended."""
        for place in tuple(self._began_ns):
            self._add(place, self._times.ended_ns)
        return self._pauses

    def _add(self, place: Place, ended_ns: int) -> None:
        began_ns = self._began_ns.pop(place)
        if len(self._pauses) == PAUSES_MAX:
            self.left_out += 1
            return
        seconds = self._times.seconds
        self._pauses.append(
            document.Pause(
                topic=place[0], partition=place[1], from_s=seconds(began_ns), to_s=seconds(ended_ns)
            )
        )
