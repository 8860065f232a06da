"""Virtual time: a heap of things to do, and nothing else ever runs."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Event:
    """One thing to do at one time. ``cancel`` takes it back."""

    __slots__ = ("action", "time")

    def __init__(self, time: float, action: Action) -> None:
        self.time = time
        self.action: Action | None = action

    def cancel(self) -> None:
        """Never do it. Harmless when it is done or cancelled already."""
        self.action = None


class Scheduler:
    """Runs events in the order of their times, those of equal times in the order they were made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.executed = 0
        self._made = 0
        self._heap: list[tuple[float, int, Event]] = []

    def at(self, time: float, action: Action) -> Event:
        """Do ``action`` at a virtual time, at once when that is past."""
        event = Event(max(time, self.now), action)
        self._made += 1
        heapq.heappush(self._heap, (event.time, self._made, event))
        return event

    def after(self, delay: float, action: Action) -> Event:
        """Do ``action`` in ``delay`` virtual seconds."""
        return self.at(self.now + delay, action)

    def run(self, until: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Run everything due by ``until``, or until ``stop`` holds; returns whether it did."""
        while self._heap and self._heap[0][0] <= until:
            time, _, event = heapq.heappop(self._heap)
            if event.action is None:
                continue
            self.now = time
            self.executed += 1
            event.action()
            if stop is not None and stop():
                return True
        self.now = until
        return False
