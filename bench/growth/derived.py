"""Conclusions from the figures of an axis, as sentences: the fixed part, the growing part, and the knee."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from bench.growth.figures import Figure, Results
from bench.growth.fits import Line, line
from bench.growth.titles import place, title_of
from bench.statistics import Spread

_REPLICAS: Final = 3
_NEAR_MOST: Final = 0.8
"""A rate that reaches this share of the highest one counts as being there."""

Points = Mapping[float, Spread]


def sentences(results: Results, axis: str) -> list[str]:
    """What follows from these figures; empty if they do not suffice."""
    return list(_OF[axis](results))


def _partitions(results: Results) -> Iterator[str]:
    idle = line(results.gauge("partitions", "idle_core_percent"))
    if idle:
        yield (
            f"Idle, all nodes together: {idle.fixed:.1f} % of a core, and {idle.slope * 1000:.1f} % more "
            "with each 1,000 partitions."
        )
    sent = results.gauge("partitions", "idle_link_bytes_s")
    if sent:
        yield f"Bytes a second between all idle nodes: {_range(sent, '{:,.0f}')}."
    memory = line(results.gauge("partitions", "rss_fresh_mb"))
    files = line(results.gauge("partitions", "descriptors"))
    if memory and files:
        yield (
            f"A node's memory when nothing was written since its start: {memory.fixed:.0f} MB and "
            f"{memory.slope * 1000:.0f} KB more for a replica; open files: {files.fixed:.0f} and "
            f"{files.slope:.1f} for a replica."
        )
    made = results.gauge("partitions", "create_s")
    if made:
        yield f"From the request for more partitions until all have leaders: {_range(made, '{:.1f} s')}."
    for series in ("many", "batches"):
        shared = results.over("partitions", series, lambda each: each.records_per_frame)
        flushes = results.over("partitions", series, lambda each: each.flushes_per_operation)
        if shared:
            yield (
                f"{_series('partitions', series)}: {_range(shared, '{:.1f}')} records a frame, "
                f"{_range(flushes, '{:.2f}')} fsyncs a request on all nodes."
            )
    restart = results.gauge("partitions", "restart_s")
    for x, each in restart.items():
        yield f"All nodes started again with {x:,.0f} partitions: ready after {each.median:.1f} s."


def _record_size(results: Results) -> Iterator[str]:
    for series in ("one", "many"):
        found = line(_node_us(results, "record-size", series))
        if found:
            yield (
                f"{_series('record-size', series)}: nodes' CPU for a request is {found.fixed:,.0f} µs and "
                f"{found.slope * 1024:.2f} µs more for each KiB {_within(found)}"
                f"{_knee('record-size', found)}."
            )


def _batch_size(results: Results) -> Iterator[str]:
    for series in ("one", "eight"):
        found = line(_node_us(results, "batch-size", series))
        if found:
            yield (
                f"{_series('batch-size', series)}: nodes' CPU for a request is {found.fixed:,.0f} µs and "
                f"{found.slope:.2f} µs more for each record {_within(found)}{_knee('batch-size', found)}."
            )
        rates = results.over("batch-size", series, lambda each: each.megabytes_s)
        if rates:
            yield f"{_series('batch-size', series)}: {_first_near_most('batch-size', rates, 'MB/s')}"


def _connections(results: Results) -> Iterator[str]:
    rates = results.over("connections", "many", lambda each: each.operations_s)
    if not rates:
        return
    yield _first_near_most("connections", rates, "requests/s")
    p50 = results.over("connections", "many", lambda each: each.p50_ms)
    most = max(rates)
    yield (
        f"{most:,.0f} connections at {rates[most].median:,.0f} requests/s: each waits "
        f"{most / rates[most].median * 1e3:.0f} ms on average by arithmetic; measured p50 "
        f"{p50[most].median:.0f} ms."
    )
    shared = results.over("connections", "many", lambda each: each.records_per_frame)
    yield f"Records a frame: {_range(shared, '{:.1f}')}."
    memory = line(results.over("connections", "many", lambda each: each.rss_bytes / 1e3))
    if memory:
        yield (
            f"The largest node's memory: {memory.fixed / 1e3:.0f} MB and "
            f"{memory.slope * _REPLICAS:.1f} KB for each connection that it has."
        )


def _gauges(results: Results, axis: str, *wanted: tuple[str, str, str]) -> Iterator[str]:
    """Gauges as (name, format, title), each from its lowest to its highest."""
    for name, unit, title in wanted:
        found = results.gauge(axis, name)
        if found:
            yield f"{title}: {_range(found, unit)}."


def _log_size(results: Results) -> Iterator[str]:
    yield from _gauges(
        results,
        "log-size",
        ("start_s", "{:.2f} s", "Start until ready, with nothing in the page cache"),
        ("first_page_start_ms", "{:.1f} ms", "First page from the start, from disk"),
        ("first_page_middle_ms", "{:.1f} ms", "First page from the middle, from disk"),
        ("rss_mb", "{:.0f} MB", "Memory of the node"),
    )
    for series in ("one", "many", "fill"):
        rates = results.over("log-size", series, lambda each: each.megabytes_s)
        if len(rates) > 1:
            first, last = min(rates), max(rates)
            yield (
                f"{_series('log-size', series)}: at {last:g} GB "
                f"{rates[last].median / rates[first].median:.2f} times the rate that it had at {first:g} GB."
            )


def _replication(results: Results) -> Iterator[str]:
    for series in results.series("replication"):
        found = _node_us(results, "replication", series)
        steps = ", ".join(
            f"{(after.median - before.median) / (more - x):,.0f} µs for each from {x:.0f} to {more:.0f}"
            for (x, before), (more, after) in pairwise(found.items())
        )
        if steps:
            yield (
                f"{_series('replication', series)}: nodes' CPU for a request is "
                f"{_range(found, '{:,.0f} µs')}; {steps} replicas."
            )
    sent = results.over("replication", "batches", lambda each: each.link_bytes / max(1, each.payload_bytes))
    if sent:
        yield f"Bytes sent between nodes for a byte of payload, in batches: {_range(sent, '{:.2f}')}."


def _nodes(results: Results) -> Iterator[str]:
    packets = results.gauge("nodes", "idle_packets_s")
    if packets:
        found = line({x * (x - 1): each for x, each in packets.items()})
        if found:
            yield (
                f"Packets a second on the idle loopback: {found.slope:.0f} for each ordered pair of nodes, "
                f"and {max(0.0, found.fixed):.0f} that are not theirs."
            )
    sent = results.gauge("nodes", "idle_link_bytes_s")
    if sent:
        each = ", ".join(f"{found.median / (x * (x - 1)):.0f} with {x:.0f}" for x, found in sent.items())
        yield f"Bytes a second for each pair, idle: {each}."
    direct, forwarded = (_node_us(results, "nodes", series) for series in ("many", "forwarded"))
    both = direct.keys() & forwarded.keys()
    if both:
        x = min(both)
        yield (
            f"A request that goes to another node than the leader's costs the nodes "
            f"{forwarded[x].median - direct[x].median:,.0f} µs more with {x:.0f} nodes."
        )


def _metadata(results: Results) -> Iterator[str]:
    yield from _gauges(
        results,
        "metadata",
        ("cluster_partitions", "{:,.0f}", "Partitions in the cluster"),
        ("walk_ms", "{:.2f} ms", "One walk over all of them"),
        ("snapshot_mb", "{:.2f} MB", "A checkpoint of the metadata"),
        ("place_ms", "{:.0f} ms", "Placing a topic of 1,000 more partitions"),
    )


_OF: Final[Mapping[str, Callable[[Results], Iterator[str]]]] = {
    "partitions": _partitions,
    "record-size": _record_size,
    "batch-size": _batch_size,
    "connections": _connections,
    "log-size": _log_size,
    "replication": _replication,
    "nodes": _nodes,
    "metadata": _metadata,
}


def _node_us(results: Results, axis: str, series: str) -> Points:
    value: Callable[[Figure], float] = lambda each: each.node_us  # noqa: E731 - one word for it
    return results.over(axis, series, value)


def _series(axis: str, series: str) -> str:
    text = title_of(axis).series[series]
    return text[0].upper() + text[1:]


def _range(points: Points, form: str) -> str:
    """The medians at the first and at the last place."""
    first, last = min(points), max(points)
    if first == last:
        return form.format(points[first].median)
    return f"{form.format(points[first].median)} to {form.format(points[last].median)}"


def _within(found: Line) -> str:
    return f"(within {found.error * 100:.0f} %)"


def _knee(axis: str, found: Line) -> str:
    knee = found.knee
    return "" if knee != knee else f"; equal parts at {place(title_of(axis), round(knee))}"  # noqa: PLR0124


def _first_near_most(axis: str, rates: Points, unit: str) -> str:
    most = max(each.median for each in rates.values())
    first = next(x for x, each in rates.items() if each.median >= _NEAR_MOST * most)
    steps = [f"{after.median / before.median:.1f}x" for (_, before), (_, after) in pairwise(rates.items())]
    return (
        f"{_NEAR_MOST:.0%} of the highest rate ({most:,.0f} {unit}) from {place(title_of(axis), first)} on; "
        f"from place to place {', '.join(steps)}."
    )
