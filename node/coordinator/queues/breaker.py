"""When a queue stops because what its workers call is broken, and when it goes on."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from node.coordinator.queues.requests import Breaker
from node.coordinator.queues.values import CLOSED, HALF_OPEN, OPEN, QueueValue

_SLICES: Final = 20
"""Of the window: outcomes of each are counted together."""


class Outcomes:
    """How deliveries ended within the last while. Beside the state: a new leader knows of none."""

    def __init__(self) -> None:
        self._slices: deque[list[int]] = deque()
        """When it began, deliveries, failures."""

    def note(self, now_ms: int, deliveries: int, failures: int, window_ms: int) -> None:
        """Some ended."""
        self._forget(now_ms, window_ms)
        last = self._slices[-1] if self._slices else None
        if last is None or now_ms - last[0] >= window_ms / _SLICES or now_ms < last[0]:
            last = [now_ms, 0, 0]
            self._slices.append(last)
        last[1] += deliveries
        last[2] += failures

    def breaks(self, breaker: Breaker) -> bool:
        """Whether as much failed as opens it."""
        deliveries = sum(each[1] for each in self._slices)
        failures = sum(each[2] for each in self._slices)
        enough = deliveries >= breaker.deliveries and failures > 0
        return breaker.failures > 0 and enough and failures * 100 >= breaker.failures * deliveries

    def clear(self) -> None:
        """Begin again."""
        self._slices.clear()

    def _forget(self, now_ms: int, window_ms: int) -> None:
        while self._slices and not now_ms - window_ms < self._slices[0][0] <= now_ms:
            self._slices.popleft()


def after(
    state: QueueValue, outcomes: Outcomes, now_ms: int, *, done: int, failed: int, probed: bool | None
) -> QueueValue:
    """The queue after so many deliveries ended well and badly. ``probed``: whether the one that was tried
    ended well, which alone decides then; None: it is not among them. Equal to what it was where nothing
    changes."""
    breaker = state.config.breaker
    if state.breaker == HALF_OPEN and probed is not None:
        outcomes.clear()
        return closed(state) if probed else opened(state, now_ms)
    if state.breaker != CLOSED:
        return state
    outcomes.note(now_ms, done + failed, failed, breaker.window_ms)
    return opened(state, now_ms) if failed and outcomes.breaks(breaker) else state


def opened(state: QueueValue, now_ms: int) -> QueueValue:
    """It pauses."""
    until_ms = now_ms + state.config.breaker.pause_ms
    return msgspec.structs.replace(state, breaker=OPEN, breaker_until_ms=until_ms, probe=0)


def half_opened(state: QueueValue, lease: int) -> QueueValue:
    """One record is tried."""
    return msgspec.structs.replace(state, breaker=HALF_OPEN, breaker_until_ms=0, probe=lease)


def closed(state: QueueValue) -> QueueValue:
    """It goes on."""
    return msgspec.structs.replace(state, breaker=CLOSED, breaker_until_ms=0, probe=0)
