"""The figures as Markdown: a table for each axis, what they come to, and what was noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bench.growth.derived import sentences
from bench.growth.figures import Figure, Results
from bench.growth.titles import Title, place, title_of
from bench.markdown import ranged, table

_COLUMNS: Final[Sequence[tuple[str, Callable[[Figure], float], str, bool]]] = (
    ("requests/s (min to max)", lambda each: each.operations_s, "{:,.0f}", True),
    ("MB/s", lambda each: each.megabytes_s, "{:,.1f}", False),
    ("p50 ms", lambda each: each.p50_ms, "{:.2f}", False),
    ("p99 ms (min to max)", lambda each: each.p99_ms, "{:.2f}", True),
    ("nodes' CPU, µs a request", lambda each: each.node_us, "{:,.0f}", False),
    ("busiest node's", lambda each: each.busiest_us, "{:,.0f}", False),
    ("client's", lambda each: each.client_us, "{:,.0f}", False),
    ("fsyncs a request", lambda each: each.flushes_per_operation, "{:.2f}", False),
    ("records a frame", lambda each: each.records_per_frame, "{:,.1f}", False),
    ("largest node, MB", lambda each: each.rss_bytes / 1e6, "{:,.0f}", False),
)
_GAUGES: Final = {
    "create_s": ("made and led, s", "{:.2f}"),
    "idle_core_percent": ("idle, % of a core, all nodes", "{:.1f}"),
    "idle_packets_s": ("idle packets/s", "{:,.0f}"),
    "idle_link_bytes_s": ("idle bytes/s between nodes", "{:,.0f}"),
    "rss_mb": ("largest node, MB", "{:,.0f}"),
    "rss_fresh_mb": ("... nothing written since its start", "{:,.0f}"),
    "descriptors": ("its open files", "{:,.0f}"),
    "restart_s": ("all started again, s", "{:.2f}"),
    "start_s": ("start, cold, s", "{:.2f}"),
    "first_page_start_ms": ("first page, start, ms", "{:.1f}"),
    "first_page_middle_ms": ("middle, ms", "{:.1f}"),
    "first_page_end_ms": ("end, ms", "{:.1f}"),
    "cluster_partitions": ("partitions in the cluster", "{:,.0f}"),
    "walk_ms": ("a walk over them, ms", "{:.2f}"),
    "snapshot_ms": ("making a checkpoint, ms", "{:.2f}"),
    "snapshot_mb": ("its size, MB", "{:.2f}"),
    "place_ms": ("placing 1,000 more, ms", "{:.0f}"),
}
"""Name in the figures -> head of the column and form."""


def head(results: Results) -> str:
    """When, where, how; and what was noted."""
    lines = [f"- Measured on {results.date}: {results.scale}.", f"- Machine: {results.machine}."]
    return "\n".join([*lines, *(f"- Note: {note}" for note in results.notes)])


def of_axis(results: Results, axis: str) -> str:
    """Its tables, and what they come to."""
    title = title_of(axis)
    parts = [_load(results, title), _gauges(results, title)]
    parts.append("\n".join(f"- {each}" for each in sentences(results, axis)))
    return "\n\n".join(part for part in parts if part)


def markdown(results: Results) -> str:
    """All of it."""
    parts = [f"## {title_of(axis).title}\n\n{of_axis(results, axis)}" for axis in results.axes]
    return "\n\n".join([head(results), *parts]) + "\n"


def _load(results: Results, title: Title) -> str:
    rows = []
    for series in results.series(title.name):
        columns = [results.over(title.name, series, value) for _, value, _, _ in _COLUMNS]
        for x in columns[0]:
            cells = [
                ranged(points[x], form) if is_ranged else form.format(points[x].median)
                for points, (_, _, form, is_ranged) in zip(columns, _COLUMNS, strict=True)
            ]
            rows.append([title.series[series], place(title, x), *cells])
    return table(["load", title.label, *(name for name, _, _, _ in _COLUMNS)], rows) if rows else ""


def _gauges(results: Results, title: Title) -> str:
    found = {name: results.gauge(title.name, name) for name in _GAUGES}
    there = {name: points for name, points in found.items() if points}
    places = sorted({x for points in there.values() for x in points})
    rows = [
        [
            place(title, x),
            *(_GAUGES[name][1].format(p[x].median) if x in p else "-" for name, p in there.items()),
        ]
        for x in places
    ]
    return table([title.label, *(_GAUGES[name][0] for name in there)], rows) if rows else ""
