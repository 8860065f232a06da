"""The figures of a run, as they are kept in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.statistics import Spread, spread


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement under load: one place on an axis, one kind of load, one round."""

    axis: str
    series: str
    x: float
    round: int
    nodes: int
    operations: int
    """Requests that were answered."""
    records: int
    payload_bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    node_cpu_s: float
    """User and system time of all nodes together."""
    busiest_cpu_s: float
    """That of the node that used most: of the leader, where there is only one."""
    client_cpu_s: float
    flushes: int = 0
    """Write and fsync of one log, on all nodes together."""
    written_bytes: int = 0
    """What all nodes made the disk write."""
    link_bytes: int = 0
    """What nodes sent to each other."""
    rss_bytes: int = 0
    """Resident memory of the largest node, after it."""
    refused: int = 0
    """Requests that met a partition without its leader, and were sent again."""
    records_per_frame: float = 0.0
    """Over the newest frames of a partition: how many records share one entry of the consensus log."""

    @property
    def operations_s(self) -> float:
        """Requests a second."""
        return self.operations / self.seconds

    @property
    def records_s(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def megabytes_s(self) -> float:
        """Payload, in 10**6 bytes a second."""
        return self.payload_bytes / self.seconds / 1e6

    @property
    def node_us(self) -> float:
        """Processor time of all nodes for a request, in microseconds."""
        return self.node_cpu_s / max(1, self.operations) * 1e6

    @property
    def client_us(self) -> float:
        """Processor time of the client for a request, in microseconds."""
        return self.client_cpu_s / max(1, self.operations) * 1e6

    @property
    def busiest_us(self) -> float:
        """Processor time of the busiest node for a request, in microseconds."""
        return self.busiest_cpu_s / max(1, self.operations) * 1e6

    @property
    def flushes_per_operation(self) -> float:
        """Fsyncs for a request, all nodes together."""
        return self.flushes / max(1, self.operations)


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that was read off without load."""

    axis: str
    name: str
    x: float
    round: int
    value: float


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that tables and plot show."""

    date: str
    machine: str
    scale: str
    axes: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)
    figures: Sequence[Figure] = field(default_factory=list)
    gauges: Sequence[Gauge] = field(default_factory=list)

    def series(self, axis: str) -> list[str]:
        """The kinds of load on this axis, in the order in which they were measured first."""
        return list(dict.fromkeys(each.series for each in self.figures if each.axis == axis))

    def over(self, axis: str, series: str, value: Callable[[Figure], float]) -> Mapping[float, Spread]:
        """x -> median and bounds over the rounds, by rising x."""
        found: dict[float, list[float]] = {}
        for each in self.figures:
            if (each.axis, each.series) == (axis, series):
                found.setdefault(each.x, []).append(value(each))
        return {x: spread(found[x]) for x in sorted(found)}

    def gauge(self, axis: str, name: str) -> Mapping[float, Spread]:
        """x -> median and bounds over the rounds, by rising x."""
        found: dict[float, list[float]] = {}
        for each in self.gauges:
            if (each.axis, each.name) == (axis, name):
                found.setdefault(each.x, []).append(each.value)
        return {x: spread(found[x]) for x in sorted(found)}


def save(results: Results, path: Path) -> None:
    """Write it."""
    path.write_text(json.dumps(asdict(results), indent=1))


def load(path: Path) -> Results:
    """Read what ``save`` wrote."""
    found = json.loads(path.read_text())
    figures = [Figure(**each) for each in found["figures"]]
    return Results(**{**found, "figures": figures, "gauges": [Gauge(**each) for each in found["gauges"]]})
