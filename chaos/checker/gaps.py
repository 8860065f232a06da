"""For how long nothing could be stored: a measurement, charged to the faults that were in force meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from chaos.checker.options import Place
from chaos.history import Event, FaultBegan, FaultEnded, Invoke, Ok, Produce


@dataclass(frozen=True, slots=True)
class Gap:
    """From one stored produce of a partition to the next one, or to the last attempt.

    ``fault`` is the fault's number in the history, None for the longest gap of the whole run.
    """

    fault: int | None
    name: str
    nodes: tuple[str, ...]
    topic: str
    partition: int
    began_ns: int
    ended_ns: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.ended_ns - self.began_ns) / 1e9


@dataclass(slots=True)
class _Fault:
    began: FaultBegan
    ended_ns: int | None = None


@dataclass(slots=True)
class _Partition:
    stored_ns: int
    tried_ns: int


class Gaps:
    """The longest gap of each fault: those that lie, in any part, within the fault's time."""

    def __init__(self) -> None:
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
                partition = self._partitions.setdefault(place, _Partition(event.time_ns, event.time_ns))
                partition.tried_ns = event.time_ns
        elif call is not None and isinstance(call.action, Produce):
            self._ended_produce(call.action, event)

    def finish(self) -> tuple[Gap, ...]:
        """The longest gap of the run first, then each fault's, in the order of the faults."""
        for place, partition in self._partitions.items():
            self._charge(place, partition.stored_ns, partition.tried_ns)
        overall = self._longest.pop(None, None)
        by_fault = tuple(self._longest[fault] for fault in sorted(f for f in self._longest if f is not None))
        return by_fault if overall is None else (overall, *by_fault)

    def _ended_produce(self, action: Produce, event: Event) -> None:
        place = (action.topic, action.partition)
        partition = self._partitions[place]
        partition.tried_ns = event.time_ns
        if isinstance(event, Ok) and action.acks == "quorum":
            self._charge(place, partition.stored_ns, event.time_ns)
            partition.stored_ns = event.time_ns

    def _charge(self, place: Place, began_ns: int, ended_ns: int) -> None:
        self._keep(Gap(None, "", (), *place, began_ns, ended_ns))
        for fault in self._active.values():
            self._keep_for(fault, place, began_ns, ended_ns)
        for fault in reversed(self._ended):
            if fault.ended_ns is not None and fault.ended_ns < began_ns:
                break
            self._keep_for(fault, place, began_ns, ended_ns)

    def _keep_for(self, fault: _Fault, place: Place, began_ns: int, ended_ns: int) -> None:
        began = fault.began
        self._keep(Gap(began.fault, began.name, tuple(began.nodes), *place, began_ns, ended_ns))

    def _keep(self, gap: Gap) -> None:
        longest = self._longest.get(gap.fault)
        if longest is None or gap.ended_ns - gap.began_ns > longest.ended_ns - longest.began_ns:
            self._longest[gap.fault] = gap
