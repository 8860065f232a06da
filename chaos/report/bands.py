"""The leaders of each group over time."""

from __future__ import annotations

from typing import Final

from chaos.history import Event, Invoke, Leads
from chaos.report import document
from chaos.report.timescale import Timescale

BANDS_MAX: Final = 4_000
GROUPS_MAX: Final = 64


class BandMaker:
    """A band ends where a later term's leader is seen: the end of a leadership is not always reported."""

    def __init__(self, times: Timescale) -> None:
        self._times = times
        self._samples: dict[str, list[Leads]] = {}
        self._highest: dict[str, int] = {}
        self._kept = 0
        self.left_out = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; reports of earlier terms, from deposed leaders, are ignored."""
        del call
        if not isinstance(event, Leads) or event.term <= self._highest.get(event.group, -1):
            return
        self._highest[event.group] = event.term
        known = event.group in self._samples
        if self._kept >= BANDS_MAX or (not known and len(self._samples) >= GROUPS_MAX):
            self.left_out += 1
            return
        self._kept += 1
        self._samples.setdefault(event.group, []).append(event)

    def finish(self) -> list[document.Leaders]:
        """The metadata first, then partitions by name."""
        groups = sorted(self._samples, key=_order)
        return [document.Leaders(group=group, bands=self._bands(self._samples[group])) for group in groups]

    def _bands(self, samples: list[Leads]) -> list[document.Band]:
        ends = [later.time_ns for later in samples[1:]]
        ends.append(max(self._times.ended_ns, samples[-1].time_ns))
        return [
            document.Band(
                node=sample.node,
                term=sample.term,
                from_s=self._times.seconds(sample.time_ns),
                to_s=self._times.seconds(end_ns),
            )
            for sample, end_ns in zip(samples, ends, strict=True)
        ]


def _order(group: str) -> tuple[bool, str, int]:
    topic, _, partition = group.rpartition("/")
    return topic != "", topic, int(partition) if partition.isdecimal() else 0
