"""When leases end, by the monotonic clock of who leads. Beside the state: a new leader gives everybody their
whole time again."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from node.coordinator.queues.run import Run


class Term(NamedTuple):
    """Records that were leased or extended together: their lease, and the time that was written down."""

    lease: int
    due_ms: int


class Visibility:
    """Times are in seconds."""

    def __init__(self) -> None:
        self._runs: dict[Term, set[Run]] = {}
        self._ends: dict[Term, float] = {}
        self._heap: list[tuple[float, Term]] = []

    def add(self, run: Run, clock_s: float) -> None:
        """A leased run; its time begins now, unless that of its term has."""
        term = Term(run.value.lease, run.value.due_ms)
        runs = self._runs.get(term)
        if runs is None:
            runs = self._runs[term] = set()
            end = self._ends[term] = clock_s + run.value.visible_ms / 1_000
            heapq.heappush(self._heap, (end, term))
        runs.add(run)

    def remove(self, run: Run) -> None:
        """Nothing of it is leased any more."""
        term = Term(run.value.lease, run.value.due_ms)
        runs = self._runs.get(term)
        if runs is not None:
            runs.discard(run)
            if not runs:
                del self._runs[term], self._ends[term]

    def next(self) -> float | None:
        """When the next term ends."""
        while self._heap and self._ends.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def over(self, clock_s: float) -> list[Run]:
        """The runs of one term that is over; none where there is none."""
        end = self.next()
        if end is None or end > clock_s:
            return []
        return sorted(self._runs[self._heap[0][1]], key=lambda run: run.first)

    def postpone(self, until_s: float) -> None:
        """No term ends before: this process was held up, and what was settled may wait to be read."""
        while (end := self.next()) is not None and end < until_s:
            _, term = heapq.heappop(self._heap)
            self._ends[term] = until_s
            heapq.heappush(self._heap, (until_s, term))

    def has(self, lease: int, due_ms: int) -> bool:
        """Whether something of such a term is left."""
        return Term(lease, due_ms) in self._runs

    def leases(self, lease: int) -> bool:
        """Whether anything of a lease is left. Looks through all of them."""
        return any(term.lease == lease for term in self._runs)
