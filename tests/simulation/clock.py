"""A node's own clock: it runs a little fast or slow, jumps ahead, and never goes back."""

from __future__ import annotations

import math

from tests.simulation.scheduler import Scheduler


class NodeClock:
    """Monotonic, in seconds, in no fixed relation to any other node's."""

    def __init__(self, scheduler: Scheduler, *, rate: float = 1.0, start: float = 0.0) -> None:
        self._scheduler = scheduler
        self._rate = rate
        self._start = start

    def __call__(self) -> float:
        """What this node believes the time to be."""
        return self._start + self._scheduler.now * self._rate

    def jump(self, seconds: float) -> None:
        """Lose ``seconds`` of real time at once, as a suspended machine does."""
        self._start += seconds

    def virtual(self, local: float) -> float:
        """When, in virtual time, this clock shows ``local``."""
        return math.inf if local == math.inf else (local - self._start) / self._rate
