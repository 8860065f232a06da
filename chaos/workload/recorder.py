"""Records the operations of all tasks, and keeps the figures so far for the live view."""

from __future__ import annotations

import time
from collections.abc import Iterable

from floodmark.errors import FloodmarkError, OffsetMismatch

from chaos.checker.options import Place
from chaos.history import Action, Produce, Result
from chaos.history_file import HistoryWriter
from chaos.workload.outcome import had_no_effect


class Tally:
    """Figures of a run so far, for display; the verdict uses the checker's, made from the history."""

    def __init__(self) -> None:
        self.stored = 0
        self.refused = 0
        self.unknown = 0
        self.longest_gap_s = 0.0
        self._began_ns: dict[Place, int] = {}
        self._stored_ns: dict[Place, int] = {}
        self._paused_ns: dict[Place, int] = {}
        self._has_ended = False

    def end(self) -> None:
        """Sends have ended: what follows is not a gap."""
        self._has_ended = True

    def sent(self, place: Place) -> None:
        """A produce begins: a partition's first gap is counted from its first attempt on."""
        self._stored_ns.setdefault(place, time.monotonic_ns())

    def pause_began(self, place: Place) -> None:
        """Writes to it pause: the clock of its gap stops."""
        self._paused_ns[place] = time.monotonic_ns()

    def pause_ended(self, place: Place) -> None:
        """It is written to again."""
        paused_ns = time.monotonic_ns() - self._paused_ns.pop(place)
        if place in self._stored_ns:
            self._stored_ns[place] += paused_ns

    def stored_now(self, place: Place, records: int, began_ns: int) -> None:
        """A produce was acknowledged."""
        now_ns = time.monotonic_ns()
        self.longest_gap_s = max(self.longest_gap_s, self._gap_s(place))
        self._stored_ns[place] = self._paused_ns.get(place, now_ns)
        self._began_ns[place] = max(began_ns, self._began_ns.get(place, 0))
        self.stored += records

    def is_stored_since(self, places: Iterable[Place], time_ns: int) -> bool:
        """Whether each of the partitions has stored something that was sent after this time."""
        return all(self._began_ns.get(place, 0) >= time_ns for place in places)

    def open_gap_s(self) -> float:
        """Seconds without a stored record in the partition that has waited longest."""
        if self._has_ended:
            return 0.0
        return max(map(self._gap_s, self._stored_ns), default=0.0)

    def _gap_s(self, place: Place) -> float:
        now_ns = self._paused_ns.get(place, time.monotonic_ns())
        return max(0.0, (now_ns - self._stored_ns[place]) / 1e9)


class Recorder:
    """The history's operations, with the outcome of errors decided in one place."""

    def __init__(self, history: HistoryWriter) -> None:
        self.history = history
        self.tally = Tally()
        self._produces: dict[int, tuple[Produce, int]] = {}

    def pause_began(self, place: Place) -> None:
        """Writes to a partition pause from now on."""
        self.history.pause_began(*place)
        self.tally.pause_began(place)

    def pause_ended(self, place: Place) -> None:
        """It is written to again."""
        self.history.pause_ended(*place)
        self.tally.pause_ended(place)

    def begin(self, process: str, action: Action) -> int:
        """An operation begins, before anything of it is sent."""
        op = self.history.invoke(process, action)
        if isinstance(action, Produce):
            self._produces[op] = (action, time.monotonic_ns())
            self.tally.sent((action.topic, action.partition))
        return op

    def ok(self, op: int, result: Result, *, node: str = "") -> None:
        """It was done."""
        self.history.ok(op, result, node=node)
        if op in self._produces:
            produce, began_ns = self._produces.pop(op)
            self.tally.stored_now((produce.topic, produce.partition), len(produce.values), began_ns)

    def failed(self, op: int, error: FloodmarkError) -> None:
        """It ended with an error, which says whether it had no effect or whether that is unknown."""
        was_produce = self._produces.pop(op, None) is not None
        if had_no_effect(error):
            high_watermark, next_offset = (
                error.fields.get(name) for name in ("high_watermark", "next_offset")
            )
            self.history.fail(op, error.code, high_watermark=high_watermark, next_offset=next_offset)
            # Losing a race is not caused by a fault.
            self.tally.refused += was_produce and not isinstance(error, OffsetMismatch)
        else:
            self.history.unknown(op, error.code)
            self.tally.unknown += was_produce

    def left_open(self, op: int) -> None:
        """The run ends before the operation does: its outcome stays unknown."""
        self._produces.pop(op, None)
        self.history.unknown(op, "run_ended")
