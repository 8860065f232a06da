"""What a queue promises that pauses where what its workers call is broken, held against what is committed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from node.coordinator.queues.requests import Breaker
from node.coordinator.queues.values import CLOSED, HALF_OPEN, OPEN, QueueValue
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.queue_promises import Meant

SLICES = 20
"""Outcomes are forgotten up to this part of the window too early."""
JUMPS_MS = 1_000
"""No clock is set by more."""


class Came(NamedTuple):
    """What a step did to deliveries. ``tried_well``: how the one ended that was tried, if it did."""

    given: int = 0
    done: int = 0
    failed: int = 0
    tried_well: bool | None = None


class _Note(NamedTuple):
    wall_ms: int
    now_ms: float
    ended: int
    failed: int


class BreakerPromises:
    """Outcomes are known to one leader alone, so it is held against those that it has seen itself."""

    def __init__(self, config: Breaker, counts: Counter[str]) -> None:
        self._config = config
        self._counts = counts
        self._lead = 0
        self._notes: list[_Note] = []
        self._opened_ms = 0
        """By the clock of the leader that did it."""

    def took(self, before: QueueValue | None, after: QueueValue | None, what: Meant, came: Came) -> None:
        """A step was committed."""
        if before is None or after is None:
            return
        if what.lead != self._lead:
            self._lead = what.lead
            self._notes.clear()
        if came.given and before.breaker != CLOSED:
            self._tries(before, what, came.given)
        expected = self._expected(before, what, came)
        require(
            after.breaker in expected,
            "a queue pauses by the share of what fails, and goes on when one record worked",
            lambda: f"from {before.breaker} to {after.breaker} by {what.kind}, {came}, not {expected}",
        )
        if after.breaker != before.breaker:
            self._counts[f"breaker {after.breaker}"] += 1
        if after.breaker == OPEN and before.breaker != OPEN:
            self._opened_ms = what.wall_ms

    def _tries(self, before: QueueValue, what: Meant, given: int) -> None:
        require(given == 1, "a queue that pauses tries one record", lambda: f"it delivers {given}")
        # A clock that is behind the one by which it began ends the pause: nobody waits longer than that.
        waited_ms = what.wall_ms - self._opened_ms
        is_over = before.breaker != OPEN or not 0 <= waited_ms < self._config.pause_ms
        require(is_over, "a queue that pauses delivers nothing", lambda: f"{waited_ms} ms after it began")

    def _expected(self, before: QueueValue, what: Meant, came: Came) -> set[str]:
        state = before.breaker
        if came.given and state != CLOSED:
            return {HALF_OPEN}
        if state == HALF_OPEN and came.tried_well is not None:
            self._notes.clear()
            return {CLOSED if came.tried_well else OPEN}
        if state != CLOSED or not came.done + came.failed:
            return {state}
        self._notes.append(_Note(what.wall_ms, what.now_ms, came.done + came.failed, came.failed))
        return self._judged() if came.failed else {CLOSED}

    def _judged(self) -> set[str]:
        """What may be after the last outcome: the leader knows of some of the last ones, and of all that are
        surely within the window."""
        last, window_ms = self._notes[-1], self._config.window_ms
        self._notes = [note for note in self._notes if last.now_ms - note.now_ms < window_ms + 2 * JUMPS_MS]
        ahead = [note.wall_ms - note.now_ms for note in self._notes]
        first, latest = 0, len(self._notes) - 1
        if max(ahead) - min(ahead) < 2:  # Its clock was not set meanwhile.
            since_ms = last.wall_ms - window_ms
            walls = [note.wall_ms for note in self._notes]
            first = next(at for at, wall_ms in enumerate(walls) if wall_ms > since_ms)
            latest = next(at for at, wall_ms in enumerate(walls) if wall_ms >= since_ms + window_ms / SLICES)
        breaks = {self._breaks(self._notes[at:]) for at in range(first, latest + 1)}
        return {OPEN if each else CLOSED for each in breaks}

    def _breaks(self, notes: list[_Note]) -> bool:
        ended, failed = sum(note.ended for note in notes), sum(note.failed for note in notes)
        share = self._config.failures
        return 0 < share * ended <= failed * 100 and ended >= self._config.deliveries
