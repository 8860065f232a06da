"""After healing, every partition soon stores records again."""

from __future__ import annotations

from dataclasses import dataclass

from chaos.checker.idle_time import IdleTime
from chaos.checker.options import CheckOptions, Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, FaultBegan, Healed, Invoke, Ok, Produce


@dataclass(frozen=True, slots=True)
class Recovery:
    """From healing to the first produce of a partition that began after it and was stored.

    ``idle_ns``: the part of it without requests.
    """

    topic: str
    partition: int
    healed_ns: int
    stored_ns: int
    idle_ns: int = 0

    @property
    def seconds(self) -> float:
        """How long that took, pauses left out."""
        return (self.stored_ns - self.healed_ns - self.idle_ns) / 1e9


@dataclass(slots=True)
class _Waiting:
    healed_ns: int
    idle_ns: int
    """The partition's idle time until then."""
    attempts: int = 0


class Progress:
    """After each healing, waits for every partition that was ever written to."""

    def __init__(self, options: CheckOptions, idle_time: IdleTime, findings: Findings) -> None:
        self._max_ns = int(options.progress_s_max * 1e9)
        self._idle_time = idle_time
        self._findings = findings
        self._written: dict[Place, None] = {}
        self._waiting: dict[Place, _Waiting] = {}
        self.recoveries: list[Recovery] = []

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke) and isinstance(event.action, Produce):
            place = (event.action.topic, event.action.partition)
            self._written[place] = None
            if place in self._waiting:
                self._waiting[place].attempts += 1
        elif isinstance(event, Ok) and call is not None and isinstance(call.action, Produce):
            self._stored(call, call.action, event)
        elif isinstance(event, Healed):
            for place in self._written:
                idle_ns = self._idle_time.idle_ns(place, event.time_ns)
                self._waiting.setdefault(place, _Waiting(event.time_ns, idle_ns))
        elif isinstance(event, FaultBegan):
            # Judge those that had their time; for the others nothing is promised any more.
            self._waiting = {
                place: waiting
                for place, waiting in self._waiting.items()
                if event.time_ns - waiting.healed_ns - self._idle_ns(place, event.time_ns) > self._max_ns
            }
            self.finish()

    def finish(self) -> None:
        """Report the partitions that have not stored anything yet."""
        for (topic, partition), waiting in self._waiting.items():
            self._findings.add(
                Kind.NO_PROGRESS,
                f"nothing was stored after healing, in {waiting.attempts} attempts",
                Evidence("all faults are over", waiting.healed_ns),
                topic=topic,
                partition=partition,
            )
        self._waiting.clear()

    def _stored(self, call: Invoke, action: Produce, event: Ok) -> None:
        place = (action.topic, action.partition)
        waiting = self._waiting.get(place)
        if waiting is None or action.acks != "quorum" or call.time_ns < waiting.healed_ns:
            return
        recovery = Recovery(*place, waiting.healed_ns, event.time_ns, self._idle_ns(place, event.time_ns))
        del self._waiting[place]
        self.recoveries.append(recovery)
        if recovery.seconds * 1e9 > self._max_ns:
            first = "the first record is stored"
            self._findings.add(
                Kind.NO_PROGRESS,
                f"nothing was stored for {recovery.seconds:.1f} s after healing",
                Evidence("all faults are over", waiting.healed_ns),
                Evidence(first, event.time_ns, None, None, event.node, call.process, call.op),
                topic=place[0],
                partition=place[1],
            )

    def _idle_ns(self, place: Place, time_ns: int) -> int:
        """Idle time of a partition since the healing."""
        return self._idle_time.idle_ns(place, time_ns) - self._waiting[place].idle_ns
