"""How long nothing could be stored: a measurement, attributed to the faults in force at the time.

It is a violation only if the run's settings limit the length of a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chaos.checker.idle_time import IdleTime
from chaos.checker.options import CheckOptions, Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, FaultBegan, FaultEnded, Invoke, Ok, Produce


@dataclass(frozen=True, slots=True)
class Gap:
    """From one stored produce of a partition to the next one, or to the last attempt.

    ``fault`` is the fault's number in the history, None for the longest gap of the whole run. ``idle_ns`` is
    the part of it without requests: a pause is not a gap.
    """

    fault: int | None
    name: str
    nodes: tuple[str, ...]
    topic: str
    partition: int
    began_ns: int
    ended_ns: int
    idle_ns: int = 0

    @property
    def seconds(self) -> float:
        """Its length, pauses left out."""
        return (self.ended_ns - self.began_ns - self.idle_ns) / 1e9


@dataclass(slots=True)
class _Fault:
    began: FaultBegan
    ended_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    """``idle_ns``: the partition's idle time until then."""

    time_ns: int
    idle_ns: int


@dataclass(slots=True)
class _Partition:
    stored: _Moment
    tried: _Moment


class Gaps:
    """The longest gap of each fault, among those that overlap the fault's time."""

    def __init__(self, options: CheckOptions, idle_time: IdleTime, findings: Findings) -> None:
        self._options = options
        self._idle_time = idle_time
        self._findings = findings
        self._active: dict[int, _Fault] = {}
        self._ended: list[_Fault] = []
        self._partitions: dict[Place, _Partition] = {}
        self._longest: dict[int | None, Gap] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, FaultBegan):
            self._active[event.fault] = _Fault(event)
        elif isinstance(event, FaultEnded):
            fault = self._active.pop(event.fault)
            fault.ended_ns = event.time_ns
            self._ended.append(fault)
        elif isinstance(event, Invoke):
            if isinstance(event.action, Produce):
                place = (event.action.topic, event.action.partition)
                now = self._moment(place, event)
                self._partitions.setdefault(place, _Partition(now, now)).tried = now
        elif call is not None and isinstance(call.action, Produce):
            self._ended_produce(call.action, event)

    def finish(self) -> tuple[Gap, ...]:
        """The longest gap of the run first, then each fault's, in the order of the faults."""
        for place, partition in self._partitions.items():
            self._charge(place, partition.stored, partition.tried)
        overall = self._longest.pop(None, None)
        by_fault = tuple(self._longest[fault] for fault in sorted(f for f in self._longest if f is not None))
        return by_fault if overall is None else (overall, *by_fault)

    def _ended_produce(self, action: Produce, event: Event) -> None:
        place = (action.topic, action.partition)
        partition = self._partitions[place]
        partition.tried = now = self._moment(place, event)
        if isinstance(event, Ok) and action.acks == "quorum":
            self._charge(place, partition.stored, now)
            partition.stored = now

    def _moment(self, place: Place, event: Event) -> _Moment:
        return _Moment(event.time_ns, self._idle_time.idle_ns(place, event.time_ns))

    def _charge(self, place: Place, began: _Moment, ended: _Moment) -> None:
        gap = Gap(None, "", (), *place, began.time_ns, ended.time_ns, ended.idle_ns - began.idle_ns)
        self._keep(gap)
        self._judge(gap)
        for fault in self._active.values():
            self._keep_for(fault, gap)
        for fault in reversed(self._ended):
            if fault.ended_ns is not None and fault.ended_ns < gap.began_ns:
                break
            self._keep_for(fault, gap)

    def _judge(self, gap: Gap) -> None:
        longest_s = self._options.gap_s_max
        if longest_s is not None and gap.seconds > longest_s:
            self._findings.add(
                Kind.NO_PROGRESS,
                f"nothing was stored for {gap.seconds:.1f} s, which is more than {longest_s:g} s",
                Evidence("a record was stored, or the first one sent", gap.began_ns),
                Evidence("the next one was stored, or the last one sent", gap.ended_ns),
                topic=gap.topic,
                partition=gap.partition,
            )

    def _keep_for(self, fault: _Fault, gap: Gap) -> None:
        began = fault.began
        self._keep(replace(gap, fault=began.fault, name=began.name, nodes=tuple(began.nodes)))

    def _keep(self, gap: Gap) -> None:
        longest = self._longest.get(gap.fault)
        if longest is None or gap.seconds > longest.seconds:
            self._longest[gap.fault] = gap
