"""Rates and latencies over time, in a bounded number of buckets however long the run is."""

from __future__ import annotations

from itertools import count
from typing import Final

from chaos.history import Event, Invoke, Ok, Produce, Read
from chaos.report import document
from chaos.report.latencies import Latencies
from chaos.report.outcomes import is_acknowledged, latency_us, records_of
from chaos.report.timescale import Timescale

BUCKETS_MAX: Final = 400
_FINEST_MS: Final = 500


def bucket_ms(duration_s: float) -> int:
    """Half a second, doubled until there are few enough buckets."""
    return next(
        width for width in (_FINEST_MS << n for n in count()) if duration_s * 1e3 <= width * BUCKETS_MAX
    )


class SeriesMaker:
    """Operations count where they end."""

    def __init__(self, times: Timescale) -> None:
        self._began_ns = times.began_ns
        self._bucket_ns = bucket_ms(times.duration_s) * 1_000_000
        buckets = max(1, -(-(times.ended_ns - times.began_ns) // self._bucket_ns))
        self._produced, self._read, self._refused = [0] * buckets, [0] * buckets, [0] * buckets
        self._produce_latencies = [Latencies() for _ in range(buckets)]
        self._read_latencies = [Latencies() for _ in range(buckets)]

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; ``call`` is what it ends."""
        if call is None or not isinstance(call.action, Produce | Read):
            return
        # What happens outside of the run's time, while nodes stop, belongs to its first or last moment.
        at = (event.time_ns - self._began_ns) // self._bucket_ns
        at = min(max(at, 0), len(self._produced) - 1)
        if isinstance(call.action, Read):
            if isinstance(event, Ok):
                self._read[at] += records_of(event)
                if records_of(event):
                    self._read_latencies[at].add(latency_us(event, call))
        elif is_acknowledged(event, call):
            self._produced[at] += len(call.action.values)
            self._produce_latencies[at].add(latency_us(event, call))
        elif call.action.acks == "quorum":
            self._refused[at] += len(call.action.values)

    def finish(self) -> document.Series:
        """All of them."""
        return document.Series(
            bucket_s=self._bucket_ns / 1e9,
            produced_per_s=self._rates(self._produced),
            read_per_s=self._rates(self._read),
            not_acknowledged_per_s=self._rates(self._refused),
            produce_p50_ms=[each.quantile_ms(0.5) for each in self._produce_latencies],
            produce_p99_ms=[each.quantile_ms(0.99) for each in self._produce_latencies],
            read_p50_ms=[each.quantile_ms(0.5) for each in self._read_latencies],
            read_p99_ms=[each.quantile_ms(0.99) for each in self._read_latencies],
        )

    def _rates(self, counts: list[int]) -> list[float]:
        return [round(each * 1e9 / self._bucket_ns, 2) for each in counts]
