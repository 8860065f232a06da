"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.group_consumers.figures import KINDS, Figure
from bench.group_consumers.variants import WAYS
from bench.markdown import ranged, table
from bench.peers.variant import Variant
from bench.statistics import spread

BESIDE_MIN = -10.0
"""Reading in a group is to be at most so many percent below reading plainly."""


def markdown(
    figures: Sequence[Figure],
    variants: Sequence[Variant],
    *,
    members: int,
    machine: str,
    notes: Sequence[str],
) -> str:
    """Medians over the rounds, with the lowest and the highest one."""
    said = [f"- M{machine[1:]}.", *(f"- Note: {note}" for note in notes)]
    columns = [(variant, way) for variant in variants for way in WAYS.get(variant.system, ("",))]
    head = ["", *(_name(variant, way) for variant, way in columns)]
    return "\n".join(said) + "\n\n" + table(head, _rows(figures, columns, members))


def _name(variant: Variant, way: str) -> str:
    name = f"{variant.label}, `{way}`" if way else variant.label
    return f"**{name}**" if variant.system == "floodmark" else name


def _rows(
    figures: Sequence[Figure], columns: Sequence[tuple[Variant, str]], members: int
) -> Iterator[list[str]]:
    for name, kind in KINDS.items():
        cells = [
            _cell(
                name,
                [
                    each.value
                    for each in figures
                    if (each.variant, each.kind) == (variant.name, name) and each.way in ("", way)
                ],
            )
            for variant, way in columns
        ]
        yield [f"{kind.title.format(members=members)}, {kind.unit}", *cells]


def _cell(name: str, values: list[float]) -> str:
    if not values:
        return "-"
    found = spread(values)
    text = ranged(found, f"{{:,.{KINDS[name].digits}f}}")
    if name == "beside":
        text += "" if found.median >= BESIDE_MIN else ", below -10"
    return text
