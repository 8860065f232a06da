"""Made figures of the growth benchmark."""

from __future__ import annotations

from typing import Any

from bench.growth.figures import Figure, Gauge, Results


def figure(axis: str, series: str, x: float, **changed: Any) -> Figure:
    """1,000 requests of one 1 KiB record in a second, on three nodes."""
    fields: dict[str, Any] = {
        "round": 0,
        "nodes": 3,
        "operations": 1000,
        "records": 1000,
        "payload_bytes": 1_024_000,
        "seconds": 1.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "node_cpu_s": 0.4,
        "busiest_cpu_s": 0.2,
        "client_cpu_s": 0.05,
        "flushes": 3000,
        "rss_bytes": 70_000_000,
        "records_per_frame": 1.0,
    }
    return Figure(axis=axis, series=series, x=x, **{**fields, **changed})


def gauges(axis: str, name: str, **values: float) -> list[Gauge]:
    """One round; keyword ``at_3`` is the value at 3."""
    return [Gauge(axis, name, float(key.removeprefix("at_")), 0, value) for key, value in values.items()]


def results(figures: list[Figure], read_off: list[Gauge]) -> Results:
    """Of the axes that they are on."""
    axes = dict.fromkeys([*(each.axis for each in figures), *(each.axis for each in read_off)])
    return Results("2026-01-01", "a machine", "1 round", list(axes), ["a note"], figures, read_off)


def whole() -> Results:
    """Everything that the arithmetic needs, in round numbers."""
    figures = [
        figure("partitions", "many", 1, node_cpu_s=0.2, busiest_cpu_s=0.1),
        figure("partitions", "many", 1000, node_cpu_s=2.0, busiest_cpu_s=0.7),
        figure("partitions", "batches", 1, node_cpu_s=2.0, busiest_cpu_s=1.0),
        figure("nodes", "many", 3, node_cpu_s=0.3),
        figure("nodes", "forwarded", 3, node_cpu_s=0.5),
    ]
    read_off = [
        *gauges("partitions", "rss_fresh_mb", at_1=60.1, at_1000=160.0),
        *gauges("partitions", "descriptors", at_1=23, at_1000=3020),
        *gauges("partitions", "idle_core_percent", at_1=1.003, at_1000=4.0),
        # A node by itself 0.1 %, and 0.2 % for each link; 250 bytes a second on each.
        *gauges("nodes", "idle_core_percent", at_3=3 * 0.5, at_5=5 * 0.9),
        *gauges("nodes", "idle_link_bytes_s", at_3=6 * 250, at_5=20 * 250),
        *gauges("metadata", "cluster_partitions", at_3=1000, at_100=33_000),
        *gauges("metadata", "walk_ms", at_3=0.1, at_100=3.3),
        *gauges("metadata", "snapshot_mb", at_3=0.1, at_100=3.3),
        *gauges("metadata", "place_ms", at_3=15, at_100=150),
    ]
    return results(figures, read_off)
