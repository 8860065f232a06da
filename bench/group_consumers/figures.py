"""The figures of a run, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table. ``digits``: after the point."""

    title: str
    unit: str
    digits: int = 0


KINDS: Final = {
    "plainly": Kind("records read plainly", "/s"),
    "in a group": Kind("records read in a group", "/s"),
    "beside": Kind("in a group beside plainly, in the same round", "%", 1),
    "first plainly": Kind("until the first record, plainly", "s", 2),
    "first in a group": Kind("until the first record, in a group that is new", "s", 2),
    "join": Kind("{members} members join at once, until each has its partition", "s", 2),
    "leave": Kind("one of them leaves, until another has its partition", "s", 2),
    "commits of 1": Kind("commits, one caller", "/s"),
    "p50 of 1": Kind("the same, median latency", "ms", 2),
    "commits of 64": Kind("commits, 64 callers", "/s"),
    "p50 of 64": Kind("the same, median latency", "ms", 2),
    "p99 of 64": Kind("the same, 99th percentile", "ms", 2),
    "without record": Kind("coordinator killed: longest time without a record", "s", 2),
    "without partition": Kind("longest time without a record of one of the partitions", "s", 2),
    "without commit": Kind("longest time without a confirmed commit", "s", 2),
    "assignments": Kind("partitions given to the consumer anew", "times"),
}
"""In the order of the table."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One value. ``way``: the protocol of groups, or "" for what does not depend on it."""

    variant: str
    way: str
    kind: str
    value: float
    round: int


def line(figure: Figure) -> str:
    """As it is told when it is there."""
    kind = KINDS[figure.kind]
    name = f"{figure.variant} {figure.way}".strip()
    value = f"{figure.value:>12,.{kind.digits}f} {kind.unit}"
    return f"round {figure.round + 1}  {name:<22} {figure.kind:<18} {value}"
