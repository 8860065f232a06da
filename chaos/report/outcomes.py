"""The outcomes of records and reads, as clients saw them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chaos.checker.chunked_ints import ABSENT, ChunkedInts
from chaos.history import Event, Fail, Invoke, Ok, Page, Produce, Produced, Read
from chaos.report.latencies import Latencies

FAILED: Final = 0
UNKNOWN: Final = 1
ACKNOWLEDGED: Final = 2


class Outcomes:
    """Counts every record once: acknowledged by a majority, else perhaps stored, else certainly not."""

    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self.records_read = self.reads = self.reads_failed = 0
        self.produce = Latencies()
        self.read = Latencies()
        self._best = ChunkedInts()

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; ``call`` is what it ends."""
        if call is None:
            return
        if isinstance(call.action, Produce):
            outcome = FAILED if isinstance(event, Fail) else UNKNOWN
            if is_acknowledged(event, call):
                outcome = ACKNOWLEDGED
                self.produce.add(latency_us(event, call))
            self._settle(call.action.values, outcome)
        elif isinstance(call.action, Read):
            if isinstance(event, Ok):
                self.reads += 1
                self.records_read += records_of(event)
                if records_of(event):  # A poll at the end waits for records that are not written yet.
                    self.read.add(latency_us(event, call))
            else:
                self.reads_failed += 1

    def finish(self, still_open: Iterable[Invoke]) -> None:
        """Count the operations whose end is not known."""
        for call in still_open:
            if isinstance(call.action, Produce):
                self._settle(call.action.values, UNKNOWN)

    def _settle(self, values: list[int], outcome: int) -> None:
        for value in values:
            before = self._best[value]
            if outcome > before:
                self._best[value] = outcome
                self.counts[outcome] += 1
                if before != ABSENT:
                    self.counts[before] -= 1


def is_acknowledged(event: Event, call: Invoke) -> bool:
    """Whether a majority has the records of this produce: only acks="quorum" says so."""
    return (
        isinstance(event, Ok)
        and isinstance(call.action, Produce)
        and call.action.acks == "quorum"
        and isinstance(event.result, Produced)
        and event.result.first_offset >= 0
    )


def records_of(event: Ok) -> int:
    """The number of records in a read's answer."""
    return sum(len(run.values) for run in event.result.runs) if isinstance(event.result, Page) else 0


def latency_us(event: Event, call: Invoke) -> int:
    """From call to answer."""
    return (event.time_ns - call.time_ns) // 1_000
