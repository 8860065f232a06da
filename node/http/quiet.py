"""A limit on how often one kind of log line is written, so that a failing cluster does not fill the disk."""

from __future__ import annotations

import time
from collections.abc import Callable


class Quiet:
    """At most ``per_minute`` lines of a kind each minute. Kinds are few: error codes, not user input."""

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}
        self._suppressed: dict[str, int] = {}

    def may_speak(self, kind: str) -> bool:
        """Whether a line of this kind may be written now; counted if not."""
        now = self._clock()
        since, count = self._windows.get(kind, (now, 0))
        if now - since >= 60:
            since, count = now, 0
        self._windows[kind] = since, count + 1
        if count < self._per_minute:
            return True
        self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
        return False

    def take_suppressed(self, kind: str) -> int:
        """How many lines of this kind were left out since the last one."""
        return self._suppressed.pop(kind, 0)
