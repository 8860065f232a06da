"""What the picture shows, before it is drawn: panels, and the lines in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.growth.figures import Figure, Results
from bench.growth.titles import Title, title_of
from bench.statistics import Spread

COLUMNS: Final = 4
_LOAD: Final = ("throughput", "latency", "cpu", "sharing")
_PANELS: Final[Mapping[str, Sequence[str]]] = {
    "partitions": (*_LOAD, "idle_core_percent", "rss_mb", "descriptors", "create_s"),
    "log-size": ("throughput", "latency", "first_page", "start_s"),
    "nodes": ("throughput", "latency", "cpu", "idle_packets_s"),
    "metadata": ("walk_ms", "place_ms", "snapshot_mb", "cluster_partitions"),
}
"""The others have those of ``_LOAD``. Each axis fills whole rows."""
_HEADS: Final = {
    "latency": "latency of a request, ms: p50, dashed p99",
    "cpu": "CPU of all nodes for a request, µs",
    "sharing": "records a frame; dashed: fsyncs a request",
    "first_page": "first page, from disk, ms",
    "idle_core_percent": "idle, all nodes, % of a core",
    "rss_mb": "memory of the largest node, MB",
    "descriptors": "its open files",
    "create_s": "more partitions made and led, s",
    "idle_packets_s": "idle packets/s, all nodes",
    "start_s": "start until ready, cold, s",
    "walk_ms": "a walk over all partitions, ms",
    "place_ms": "placing 1,000 more partitions, ms",
    "snapshot_mb": "checkpoint of the metadata, MB",
    "cluster_partitions": "partitions in the cluster",
}
_FROM_ZERO: Final = {"rss_mb", "start_s", "idle_packets_s", "idle_core_percent"}
"""What hardly grows, and is to look like it."""
_FIRST_PAGES: Final = {
    "first_page_start_ms": "start",
    "first_page_middle_ms": "middle",
    "first_page_end_ms": "end",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: x -> median and bounds. Lines of one load have one number, for their colour."""

    label: str
    points: Mapping[float, Spread]
    number: int
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart."""

    title: Title
    head: str
    lines: Sequence[Line]
    is_logarithmic: bool

    @property
    def places(self) -> list[float]:
        """All that the lines have a point at."""
        return sorted({x for line in self.lines for x in line.points})


def panels(results: Results) -> list[Panel]:
    """All of them, row by row."""
    return [
        _panel(results, title_of(axis), name) for axis in results.axes for name in _PANELS.get(axis, _LOAD)
    ]


def _panel(results: Results, title: Title, name: str) -> Panel:
    head = (
        ("MB/s of payload" if title.is_in_megabytes else "records/s")
        if name == "throughput"
        else _HEADS[name]
    )
    if name in _LOAD:
        lines = list(_load_lines(results, title, name))
    else:
        gauges = _FIRST_PAGES if name == "first_page" else {name: ""}
        lines = [
            Line(label, results.gauge(title.name, gauge), number)
            for number, (gauge, label) in enumerate(gauges.items())
        ]
    return Panel(title, head, [line for line in lines if line.points], name not in _FROM_ZERO)


def _load_lines(results: Results, title: Title, name: str) -> Iterator[Line]:
    for number, series in enumerate(results.series(title.name)):
        label = title.series[series] if name == "throughput" else ""
        for value, is_dashed in _values(title, name, series):
            yield Line(label, results.over(title.name, series, value), number, is_dashed)


def _values(title: Title, name: str, series: str) -> list[tuple[Callable[[Figure], float], bool]]:
    """What one load shows in one panel; reading shares no frames, and its pages have a panel of their own."""
    if name == "throughput":
        return [((lambda each: each.megabytes_s) if title.is_in_megabytes else _records_s, False)]
    if series.startswith("read") and (name == "sharing" or title.name == "log-size"):
        return []
    if name == "latency":
        return [(lambda each: each.p50_ms, False), (lambda each: each.p99_ms, True)]
    if name == "cpu":
        return [(lambda each: each.node_us, False)]
    return [(lambda each: each.records_per_frame, False), (lambda each: each.flushes_per_operation, True)]


def _records_s(figure: Figure) -> float:
    return figure.records_s
