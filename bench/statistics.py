"""Medians and spread over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """One value for each round, summed up."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Raises ``ValueError`` when there are none."""
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def times_better(ours: float, theirs: float, *, is_lower_better: bool) -> float | None:
    """How many times better ours is: above 1 we are ahead. None when there is nothing to compare with."""
    if ours <= 0 or theirs <= 0:
        return None
    return theirs / ours if is_lower_better else ours / theirs
