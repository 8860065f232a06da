"""Counts events and their durations for a histogram, which is built when it is scraped.

``prometheus_client``'s own histogram takes five times as long for each observation.
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
        """Per bucket, not cumulative; the last one has what is above all bounds."""
        self._seconds = 0.0

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._seconds += seconds

    def add(self, other: Tally) -> None:
        """Add the counts of another row with the same buckets."""
        self._counts = [one + more for one, more in zip(self._counts, other._counts, strict=True)]
        self._seconds += other._seconds

    def tell(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add the row to a family, with cumulative buckets."""
        bounds = (*(str(float(bound)) for bound in self._bounds_s), "+Inf")
        family.add_metric(
            labels, list(zip(bounds, itertools.accumulate(self._counts), strict=True)), self._seconds
        )
