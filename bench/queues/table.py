"""The figures as a table in Markdown: medians, with the lowest and highest round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.queues.figures import Figure
from bench.queues.work import AT_ONCE, BATCHES, PROGRAM, WORKERS
from bench.statistics import Spread, spread

NO_ORDER: Final = "has none"
_REFERENCE: Final = "floodmark"
_STEPS: Final = {
    "write": "written, records/s",
    "memory": "memory of the three nodes for them, MB",
    "late": "the first one after its time, ms",
    "deliver": "delivered and acknowledged when due, records/s (16 workers, batches of 100)",
}


def markdown(figures: Sequence[Figure], labels: Mapping[str, str], delayed: int) -> str:
    """Both parts. ``labels``: name -> label of each variant, Floodmark first."""
    return "\n\n".join(
        "\n".join(part) for part in (_rows(figures, labels), _delayed(figures, delayed)) if part
    )


def _rows(figures: Sequence[Figure], labels: Mapping[str, str]) -> list[str]:
    return list(_lines(figures, labels)) if any(figure.work not in _STEPS for figure in figures) else []


def _lines(figures: Sequence[Figure], labels: Mapping[str, str]) -> Iterator[str]:
    names = list(labels)
    yield f"| records/s, received and acknowledged | {' | '.join(labels.values())} | beside the best other |"
    yield "|---|" + "---|" * (len(names) + 1)
    rows = [
        *((f"{batch}x{workers}", _what(batch, workers)) for batch in BATCHES for workers in WORKERS),
        *((f"{PROGRAM}x{at_once}", f"one program, {at_once} at once") for at_once in AT_ONCE),
    ]
    for work, what in rows:
        for by_key in (False, True):
            found = {name: _best(figures, name, work, by_key=by_key) for name in names}
            # Others have no order of keys; what they do without it is what to compare with.
            plain = {name: found[name] or _best(figures, name, work, by_key=False) for name in names}
            cells = [_cell(found[name], plain[name]) for name in names]
            order = ", in order of keys" if by_key else ""
            yield f"| {what}{order} | {' | '.join(cells)} | {_ratio(plain)} |"


def _what(batch: int, workers: int) -> str:
    taken = "one at a time" if batch == 1 else f"batches of {batch}"
    return f"{taken}, {workers} worker{'s' if workers > 1 else ''}"


def _best(figures: Sequence[Figure], name: str, work: str, *, by_key: bool) -> Spread | None:
    """Of the ways that its client offers."""
    ways: dict[str, list[float]] = {}
    for figure in figures:
        if (figure.variant, figure.work, figure.by_key) == (name, work, by_key):
            ways.setdefault(figure.way, []).append(figure.value)
    return max((spread(values) for values in ways.values()), key=lambda each: each.median, default=None)


def _cell(found: Spread | None, plain: Spread | None) -> str:
    if found is None:
        return "" if plain is None else NO_ORDER
    return f"{found.median:,.0f} [{found.low:,.0f} to {found.high:,.0f}]"


def _ratio(found: Mapping[str, Spread | None]) -> str:
    ours = found.get(_REFERENCE)
    others = [each.median for name, each in found.items() if each is not None and name != _REFERENCE]
    return f"{ours.median / max(others):.2f}x" if ours is not None and others else ""


def _delayed(figures: Sequence[Figure], delayed: int) -> list[str]:
    found = {figure.work: figure.value for figure in figures if figure.work in _STEPS}
    lines = [f"| {what} | {found[step]:,.0f} |" for step, what in _STEPS.items() if step in found]
    return [f"| {delayed:,} delayed records | Floodmark |", "|---|---|", *lines] if lines else []
