"""Counts answered requests, by status and by duration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from node.tally import Tally

_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS: Final = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RequestTally(Collector):
    """Rows by route template, method and status: all from small sets, whatever clients send."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], Tally] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        row = self._rows.get((route, method, status))
        if row is None:
            label = method if method in _METHODS else "other"
            row = self._rows.setdefault((route, label, status), Tally(_BUCKETS_S))
        row.observe(seconds)

    def describe(self) -> Iterable[Metric]:
        """Names and labels, without rows."""
        return (_requests(), _seconds())

    def collect(self) -> Iterable[Metric]:
        """A counter by status class, and a histogram of all of them."""
        requests, seconds = _requests(), _seconds()
        classes: Counter[tuple[str, str, str]] = Counter()
        routes: dict[tuple[str, str], Tally] = {}
        for (route, method, status), row in self._rows.items():
            classes[route, method, f"{status // 100}xx"] += row.count
            routes.setdefault((route, method), Tally(_BUCKETS_S)).add(row)
        for labels, count in classes.items():
            requests.add_metric(labels, count)
        for place, total in routes.items():
            total.tell(seconds, place)
        return (requests, seconds)


def _requests() -> CounterMetricFamily:
    return CounterMetricFamily(
        "floodmark_http_requests", "Requests answered.", labels=("route", "method", "status")
    )


def _seconds() -> HistogramMetricFamily:
    return HistogramMetricFamily(
        "floodmark_http_request_seconds",
        "From the end of the headers to the last byte handed to the system.",
        labels=("route", "method"),
    )
