"""Tables in Markdown, as benchmarks print them and docs/PERFORMANCE.md has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.statistics import Spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of cells, the first one being their titles."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ranged(found: Spread, form: str) -> str:
    """The median, with the lowest and the highest round where there is more than one."""
    text = form.format(found.median)
    return text if found.rounds == 1 else f"{text} ({form.format(found.low)} to {form.format(found.high)})"
