"""What is added up between scrapes is told as Prometheus wants it."""

from __future__ import annotations

from prometheus_client.core import HistogramMetricFamily

from node.tally import Tally

BOUNDS_S = (0.1, 1)


def test_a_bucket_counts_all_that_is_below_its_end() -> None:
    """On the bound belongs to the bucket, above all bounds to the last one; the seconds are summed."""
    tally = Tally(BOUNDS_S)
    for seconds in (0.05, 0.1, 0.5, 3.0):
        tally.observe(seconds)
    more = Tally(BOUNDS_S)
    more.observe(1.0)
    tally.add(more)
    family = HistogramMetricFamily("seconds", "How long.", labels=("place",))
    tally.tell(family, ("here",))
    told = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    assert told == {"0.1": 2, "1.0": 4, "+Inf": 5, "seconds_count": 5, "seconds_sum": 4.65}
    assert tally.count == 5
