"""Decides which groups are stepped, and when: those with input once per turn of the event loop, all together.

A group that has nothing to do and no deadline costs nothing, however many there are.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable

from consensus.host.host_types import Slot

_DEADLINES_PER_TURN = 32
"""When more are due, messages are read in between: what a group waits for may have come long ago, and a
thousand elections at once would only outdate each other."""
_HELD_UP_S = 0.2
"""A timer or a turn that comes later than this tells that this process, or its event loop, did not run."""


class Scheduler:
    """``run`` steps a batch of slots; it calls ``at`` for each with its next deadline.

    ``held_up`` is told, before anything is judged by the clock, how long this process did not run: in that
    time no peer could be heard, and what they sent lies in the sockets.
    """

    def __init__(
        self,
        run: Callable[[list[Slot]], None],
        clock: Callable[[], float],
        grain_s: float,
        held_up: Callable[[float], None],
    ) -> None:
        self._run = run
        self._held_up = held_up
        self._clock = clock
        self._grain_s = grain_s
        self._loop = asyncio.get_running_loop()
        self._ready: dict[Slot, None] = {}
        self._turn_is_due = False
        self._turn_asked_at = 0.0
        self._heap: list[tuple[float, int, Slot]] = []
        self._count = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._stopped = False

    def wake(self, slot: Slot) -> None:
        """Have the group stepped in the next turn, once, however often this is called."""
        self._ready[slot] = None
        if not self._turn_is_due:
            self._turn_is_due = True
            self._turn_asked_at = self._clock()
            self._loop.call_soon(self._turn)

    def at(self, slot: Slot, deadline: float) -> None:
        """Have the group stepped at this time, in place of the time said before."""
        slot.deadline = deadline
        if deadline <= self._clock():
            self.wake(slot)
        elif deadline < slot.timer_at:
            self._push(slot)

    def stop(self) -> None:
        """No more turns."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        self._look_back()
        self._turn_is_due = False
        ready, self._ready = self._ready, {}
        if not self._stopped:
            self._run([slot for slot in ready if not slot.removed])

    def _push(self, slot: Slot) -> None:
        # A deadline that moves back needs no new entry: the old one finds out when its time comes.
        slot.timer_at = slot.deadline
        heapq.heappush(self._heap, (slot.deadline, next(self._count), slot))
        self._arm()

    def _arm(self) -> None:
        if self._stopped or not self._heap:
            return
        grain = self._grain_s
        due = math.ceil(self._heap[0][0] / grain) * grain
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        # At least a millisecond: the loop's timers are no finer, and must not come too early over and over.
        self._timer = self._loop.call_later(max(0.001, due - self._clock()), self._time_is_up)

    def _look_back(self) -> None:
        """Notice that the timer, or the turn that is due, should have come long ago.

        Where all groups sleep there is no timer, and what wakes one of them may be the last thing that this
        process does for a while.
        """
        now = self._clock()
        late = now - self._timer_at if self._timer is not None else 0.0
        if self._turn_is_due:
            late = max(late, now - self._turn_asked_at)
        if late > _HELD_UP_S and not self._stopped:
            # Noticed once: what is late from here on is noticed again.
            self._timer_at = max(self._timer_at, now)
            self._turn_asked_at = now
            self._held_up(late)

    def _time_is_up(self) -> None:
        self._look_back()
        self._timer = None
        now = self._clock()
        for _ in range(_DEADLINES_PER_TURN):
            if not self._heap or self._heap[0][0] > now:
                break
            at, _, slot = heapq.heappop(self._heap)
            if at != slot.timer_at:
                continue
            slot.timer_at = math.inf
            if slot.removed:
                continue
            if slot.deadline <= now:
                self.wake(slot)
            elif slot.deadline < math.inf:
                self._push(slot)
        self._arm()
