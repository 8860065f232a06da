"""How long the workload left a partition idle: a partition without writes is not one that refuses them."""

from __future__ import annotations

from collections import defaultdict

from chaos.checker.options import Place
from chaos.history import End, Event, Invoke, PauseBegan, PauseEnded, Produce


class IdleTime:
    """The idle time of every partition: the time in a pause while no produce is under way there."""

    def __init__(self) -> None:
        self._under_way: defaultdict[Place, int] = defaultdict(int)
        self._pausing: set[Place] = set()
        self._idle_since_ns: dict[Place, int] = {}
        self._idle_ns: defaultdict[Place, int] = defaultdict(int)

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event, before the checks that ask for the idle time at it."""
        if isinstance(event, Invoke) and isinstance(event.action, Produce):
            place = (event.action.topic, event.action.partition)
            self._under_way[place] += 1
        elif isinstance(event, End) and call is not None and isinstance(call.action, Produce):
            place = (call.action.topic, call.action.partition)
            self._under_way[place] -= 1
        elif isinstance(event, PauseBegan):
            place = (event.topic, event.partition)
            self._pausing.add(place)
        elif isinstance(event, PauseEnded):
            place = (event.topic, event.partition)
            self._pausing.discard(place)
        else:
            return
        is_idle = place in self._pausing and not self._under_way[place]
        if is_idle:
            self._idle_since_ns.setdefault(place, event.time_ns)
        elif place in self._idle_since_ns:
            self._idle_ns[place] += event.time_ns - self._idle_since_ns.pop(place)

    def idle_ns(self, place: Place, time_ns: int) -> int:
        """The idle time so far, up to a time that is not before the last event."""
        return self._idle_ns[place] + time_ns - self._idle_since_ns.get(place, time_ns)
