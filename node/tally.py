"""How often something happened and how long it took: added up here, and told when somebody asks.

``prometheus_client``'s own histogram takes five times as long for each.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily


class Tally:
    """One row of a histogram, whose buckets end at ``bounds_s``."""

    __slots__ = ("_bounds_s", "_counts", "_seconds")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        """By the first bucket that each fits into; the last one takes what is above all bounds."""
        self._seconds = 0.0

    @property
    def count(self) -> int:
        """How often it happened."""
        return sum(self._counts)

    def observe(self, seconds: float) -> None:
        """It happened once more."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._seconds += seconds

    def add(self, other: Tally) -> None:
        """Take in what another row with the same buckets has counted."""
        self._counts = [one + more for one, more in zip(self._counts, other._counts, strict=True)]
        self._seconds += other._seconds

    def tell(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Put the row into a family: every bucket counts what is in those below it too."""
        bounds = (*(str(float(bound)) for bound in self._bounds_s), "+Inf")
        family.add_metric(
            labels, list(zip(bounds, itertools.accumulate(self._counts), strict=True)), self._seconds
        )
