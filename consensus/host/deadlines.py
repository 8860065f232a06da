"""Deadlines of waits that nearly always end in time: those of one moment share a timer of the event loop.

A timer of its own costs a wait more than all else about it: setting and cancelling one takes uvloop 8 to 12
microseconds, an entry here takes one.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable
from typing import Final, Protocol

_GRAIN_S: Final = 1 / 64
"""A deadline that shares a timer is at most this late, and never early."""
_OWN_TIMER_BELOW_S: Final = 0.5
"""Shorter waits are likely to reach their end, and who asks for one wants it on time."""


class Deadline(Protocol):
    """What ``after`` gives."""

    def cancel(self) -> None:
        """It is not needed any more; also when it is over."""


class _Entry:
    """One wait of a moment."""

    __slots__ = ("_moment", "expired")

    def __init__(self, moment: dict[_Entry, None], expired: Callable[[], object]) -> None:
        self._moment = moment
        self.expired = expired

    def cancel(self) -> None:
        """See ``Deadline``."""
        self._moment.pop(self, None)


class _Moments:
    """The waits of one event loop, by the time at which they end, in grains."""

    def __init__(self) -> None:
        self._waits: dict[int, dict[_Entry, None]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[], object]) -> _Entry:
        """Enter one."""
        grain = math.ceil((loop.time() + seconds) / _GRAIN_S)
        moment = self._waits.get(grain)
        if moment is None:
            moment = self._waits[grain] = {}
            loop.call_at(grain * _GRAIN_S, self._is_over, grain)
        entry = _Entry(moment, expired)
        moment[entry] = None
        return entry

    def _is_over(self, grain: int) -> None:
        moment = self._waits.pop(grain)
        while moment:
            entry = next(iter(moment))
            del moment[entry]
            entry.expired()


_OF_LOOPS: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Moments]] = weakref.WeakKeyDictionary()


def after(seconds: float, expired: Callable[[], object]) -> Deadline:
    """Have ``expired`` called on the running loop when so many seconds have passed, unless cancelled."""
    loop = asyncio.get_running_loop()
    if seconds < _OWN_TIMER_BELOW_S:
        return loop.call_later(max(0.0, seconds), expired)
    moments = _OF_LOOPS.get(loop)
    if moments is None:
        moments = _OF_LOOPS[loop] = _Moments()
    return moments.add(loop, seconds, expired)
