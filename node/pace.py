"""When what waits for a way into a log leaves: alone at once, under load together.

Under load a batch, a frame, a log entry and an acknowledgement for each request would cost far more than what
it stores. So what comes while something is under way leaves together once that has arrived.

Clients that wait for their answers send their next requests as soon as they have them. So the answers are
soon followed by as many new requests, and the next departure waits for these, but no longer than the last
one took. Otherwise the callers split into two halves, each of which waits for the other's departure before
its own: twice as many, and higher latency for everybody. Where callers do not come back, nobody waits for
them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

WAIT_S_MAX: Final = 0.02
"""The longest that a request waits for the departure before its own to arrive; a commit may take longer."""
RETURN_S_MAX: Final = 0.01
"""The longest that a departure waits for those who were answered and may ask again."""
VAIN: Final = 16
"""After a departure that waited in vain, so many do not wait."""


class Departure:
    """Something under way."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


class Pace:
    """``send`` has all leave that waits, and calls ``departs`` and ``departed``; ``waiting`` is how many
    requests do."""

    def __init__(self, send: Callable[[], None], waiting: Callable[[], int]) -> None:
        self._send = send
        self._waiting = waiting
        self._under_way: Departure | None = None
        """The last one."""
        self._expected = 0
        """How many requests are expected to wait soon; until they do the timer runs."""
        self._do_not_expect = 0
        """How many more departures do not wait: callers did not come back."""
        self._timer: asyncio.Handle | None = None

    def came(self) -> None:
        """One more waits: ``send`` is called some time, at the end of this turn of the event loop at the
        soonest, with whatever else it reads from sockets."""
        if self._expected:
            if self._waiting() >= self._expected:
                self.send_soon()
        elif self._timer is None:
            if self._under_way is None:
                self.send_soon()
            else:
                self._timer = asyncio.get_running_loop().call_later(WAIT_S_MAX, self._send)

    def departs(self) -> None:
        """All that waits leaves now."""
        self._expected = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def departed(self) -> Departure:
        """It is under way. ``arrived`` has to follow."""
        self._under_way = departure = Departure(time.monotonic())
        return departure

    def arrived(self, departure: Departure, count: int) -> None:
        """``count`` requests are about to be answered."""
        if self._under_way is not departure:
            return
        self._under_way = None
        if self._do_not_expect:
            self._do_not_expect -= 1
            self._send()
        else:
            self._expect(count, departure)

    def send_soon(self) -> None:
        """All that waits leaves at the end of this turn."""
        self.departs()
        self._timer = asyncio.get_running_loop().call_soon(self._send)

    def _expect(self, count: int, departure: Departure) -> None:
        """As many may follow as are being answered."""
        self.departs()
        waiting = self._waiting()
        if not waiting and count <= 1:
            return  # A lone caller never waits.
        self._expected = waiting + count
        pause_s = min(RETURN_S_MAX, time.monotonic() - departure.at)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._expect_no_more, count)

    def _expect_no_more(self, count: int) -> None:
        if self._expected - self._waiting() > 0.75 * count:
            self._do_not_expect = VAIN
        self._send()
