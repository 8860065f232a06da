"""Log lines that cannot flood: one per event and peer in a minute, and a count of those left out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import structlog

_KEYS_MAX: Final = 1_024


class ThrottledLog:
    """Wraps a structlog logger. Memory is bounded: the event least recently seen is forgotten."""

    def __init__(
        self, name: str, *, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = structlog.get_logger(name)
        self._interval_s = interval_s
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def info(self, event: str, *, peer: str, **fields: Any) -> None:
        """Something an operator may want to know."""
        if (suppressed := self._admit(event, peer)) is not None:
            self._log.info(event, peer=peer, **suppressed, **fields)

    def warning(self, event: str, *, peer: str, **fields: Any) -> None:
        """Something an operator should look at."""
        if (suppressed := self._admit(event, peer)) is not None:
            self._log.warning(event, peer=peer, **suppressed, **fields)

    def error(self, event: str, *, peer: str, **fields: Any) -> None:
        """Something that an operator has to mend."""
        if (suppressed := self._admit(event, peer)) is not None:
            self._log.error(event, peer=peer, **suppressed, **fields)

    def _admit(self, event: str, peer: str) -> dict[str, int] | None:
        key = (event, peer)
        now = self._clock()
        seen = self._seen.pop(key, None)
        if seen is not None and now - seen[0] < self._interval_s:
            self._seen[key] = (seen[0], seen[1] + 1)
            return None
        self._seen[key] = (now, 0)
        if len(self._seen) > _KEYS_MAX:
            self._seen.popitem(last=False)
        return {"suppressed": seen[1]} if seen is not None and seen[1] else {}
