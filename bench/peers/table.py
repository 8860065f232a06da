"""The figures as Markdown, for people and for docs/PERFORMANCE.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.markdown import ranged, table
from bench.peers.results import Figure, Results, title
from bench.statistics import Spread, spread, times_better

_BY_LATENCY = {"one": "p50", "paced": "p99"}
"""work -> the figure that ratios are made of; all others are compared by their rate."""


def markdown(results: Results) -> str:
    """One overview, then one table for each work."""
    parts = [_head(results)]
    if results.figures:
        parts += ["#### All at a glance", _overview(results)]
    for work, size in results.measured():
        parts += [f"#### {_sentence(title(work, size))}", _details(results, work, size)]
    return "\n\n".join(parts) + "\n"


def _head(results: Results) -> str:
    versions = "; ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        f"Measured on {results.date}: {results.scale}.",
        f"Machine: {results.machine}.",
        f"Versions: {versions}.",
        *(f"Absent: {name}: {why}." for name, why in results.absent.items()),
        *(f"Note: {note}" for note in results.notes),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _overview(results: Results) -> str:
    """A line for each work, a column for each variant; those in bold acknowledge on a majority's disks."""
    names = [name for name in results.labels if name not in results.absent]
    head = [
        f"**{results.labels[name]}**" if name in results.synced else results.labels[name] for name in names
    ]
    rows = []
    for work, size in results.measured():
        found = results.of(work, size)
        ours = _reference(results, found)
        cells = [
            _cell(work, [figures for (variant, _), figures in found.items() if variant == name], ours)
            for name in names
        ]
        rows.append([f"{title(work, size)}, {_unit(work)}", *cells])
    return table(["", *head], rows)


def _cell(work: str, ways: Sequence[Sequence[Figure]], ours: Sequence[Figure] | None) -> str:
    """The first way, with its ratio when it is a peer's; others of ours after a slash."""
    if not ways:
        return "-"
    text = " / ".join(_short(work, _main(work, figures).median) for figures in ways)
    if rate := ways[0][0].target_rate:
        text += f" at {rate:,}/s"
    if ours and ways[0] is not ours:
        text += f" ({_ratio(work, ours, ways[0])})"
    return text


def _details(results: Results, work: str, size: int) -> str:
    found = results.of(work, size)
    ours = _reference(results, found)
    has_latency = any(figure.p50_ms is not None for figures in found.values() for figure in figures)
    head = ["", "records/s (min to max)", "MB/s"]
    head += ["p50 ms", "p99 ms (min to max)", "p99.9 ms"] if has_latency else []
    head += ["Floodmark is", "servers' CPU, µs a record", "client's CPU, µs a record", "% of a core"]
    head += [] if work == "read" else ["bytes written a byte, per server"]
    rows = []
    for (variant, way), figures in found.items():
        label = results.labels[variant] + (f", {way}" if way else "")
        row = [f"**{label}**" if variant in results.synced else label]
        row += [ranged(_over(figures, lambda each: each.rate), "{:,.0f}")]
        row += [f"{_over(figures, lambda each: each.megabytes_s).median:.1f}"]
        if has_latency:
            row += [
                f"{_over(figures, lambda each: each.p50_ms or 0).median:.2f}",
                ranged(_over(figures, lambda each: each.p99_ms or 0), "{:.2f}"),
                f"{_over(figures, lambda each: each.p999_ms or 0).median:.2f}",
            ]
        row.append("-" if ours is None or figures is ours else _ratio(work, ours, figures))
        row += [
            f"{_over(figures, lambda each: each.server_cpu_s / max(1, each.records) * 1e6).median:.1f}",
            f"{_over(figures, lambda each: each.client_cpu_s / max(1, each.records) * 1e6).median:.1f}",
            f"{_over(figures, lambda each: each.client_cpu_s / each.seconds * 100).median:.0f}",
        ]
        row += [] if work == "read" else [f"{_over(figures, lambda each: each.written_per_byte).median:.2f}"]
        rows.append(row)
    return table(head, rows)


def _reference(results: Results, found: dict[tuple[str, str], list[Figure]]) -> list[Figure] | None:
    """The first way of the first variant, when that is ours."""
    first = next(iter(results.labels))
    if first != "floodmark":
        return None
    return next((figures for (variant, _), figures in found.items() if variant == first), None)


def _main(work: str, figures: Sequence[Figure]) -> Spread:
    match _BY_LATENCY.get(work):
        case "p50":
            return _over(figures, lambda each: each.p50_ms or 0)
        case "p99":
            return _over(figures, lambda each: each.p99_ms or 0)
        case _:
            return _over(figures, lambda each: each.rate)


def _ratio(work: str, ours: Sequence[Figure], theirs: Sequence[Figure]) -> str:
    if ours[0].target_rate != theirs[0].target_rate:
        return "at another rate"
    found = times_better(
        _main(work, ours).median, _main(work, theirs).median, is_lower_better=work in _BY_LATENCY
    )
    return "-" if found is None else f"{found:.2f}x"


def _over(figures: Sequence[Figure], value: Callable[[Figure], float]) -> Spread:
    return spread([value(figure) for figure in figures])


def _unit(work: str) -> str:
    return f"{_BY_LATENCY[work]} ms" if work in _BY_LATENCY else "records/s"


def _short(work: str, value: float) -> str:
    return f"{value:.2f}" if work in _BY_LATENCY else f"{value:,.0f}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
