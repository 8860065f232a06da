"""Every acknowledged record is on a majority of the replicas at the end.

Lost records are classified by their place among the acknowledged ones that are left: a lost tail points to a
leader with too short a log, a lost prefix to a log that started over, a hole in the middle to unnoticed
damage.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.checker.final_state import ReplicaState
from chaos.checker.options import CheckOptions, Place
from chaos.checker.placement import Placement
from chaos.checker.records import Records
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.record_value import name_of


@dataclass(slots=True)
class _Partition:
    """A partition's acknowledged records and what is left of them."""

    lost: array[int] = field(default_factory=lambda: array("q"))
    first_there: int | None = None
    last_there: int | None = None

    def survived(self, offset: int) -> None:
        self.first_there = offset if self.first_there is None else min(self.first_there, offset)
        self.last_there = offset if self.last_there is None else max(self.last_there, offset)

    def kind(self, offset: int) -> Kind:
        if self.first_there is None or self.last_there is None:
            return Kind.LOST_ALL
        if offset < self.first_there:
            return Kind.LOST_PREFIX
        return Kind.LOST_TAIL if offset > self.last_there else Kind.LOST_MIDDLE


class Loss:
    """Looks for every acknowledged record in the final state."""

    def __init__(
        self,
        records: Records,
        placement: Placement,
        replicas: Mapping[Place, list[ReplicaState]],
        options: CheckOptions,
        findings: Findings,
    ) -> None:
        self._records = records
        self._places = records.places
        self._placement = placement
        self._replicas = replicas
        self._options = options
        self._findings = findings

    def check(self) -> None:
        """Report every lost record, by offset."""
        partitions: dict[int, _Partition] = defaultdict(_Partition)
        for value, packed in self._records.acknowledged.items():
            number, offset = self._places.unpack(packed)
            place = self._places.all[number]
            if offset < self._head_before(place) or offset in self._options.removable.get(place, ()):
                continue
            if self._stands(packed, value) or self._is_moved(value):
                partitions[number].survived(offset)
            else:
                partitions[number].lost.append(value)
        for number, partition in partitions.items():
            for value in sorted(partition.lost, key=self._offset):
                self._report(self._places.all[number], value, partition.kind(self._offset(value)))

    def _offset(self, value: int) -> int:
        return self._places.unpack(self._records.acknowledged[value])[1]

    def _stands(self, packed: int, value: int) -> bool:
        number, offset = self._places.unpack(packed)
        place = self._places.all[number]
        replicas = self._replicas.get(place, [])
        holding = 0
        for replica in replicas:
            holding += replica.value_at(offset) == value
        return holding >= self._quorum(place, len(replicas))

    def _quorum(self, place: Place, found: int) -> int:
        expected = self._options.replicas.get(place)
        return (found if expected is None else len(expected)) // 2 + 1

    def _is_moved(self, value: int) -> bool:
        """Whether it is at another offset, which is reported separately."""
        return value in self._placement.reported and any(
            self._stands(packed, value) for packed in self._placement.places_of(value)
        )

    def _head_before(self, place: Place) -> int:
        if place[0] not in self._options.trimmed_topics:
            return 0
        return max((replica.start_offset for replica in self._replicas.get(place, [])), default=0)

    def _report(self, place: Place, value: int, kind: Kind) -> None:
        offset = self._offset(value)
        evidence = [acknowledged] if (acknowledged := self._records.acknowledgement(value)) else []
        for replica in self._replicas.get(place, []):
            there = replica.value_at(offset)
            if there is None:
                what = f"{replica.node} holds offsets {replica.start_offset} to {replica.next_offset}"
            else:
                what = f"{replica.node} holds {name_of(there)} there"
            evidence.append(Evidence(what, None, offset, there, replica.node))
        summary = f"{name_of(value)} was acknowledged at offset {offset} and is not on a majority"
        self._findings.add(kind, summary, *evidence, topic=place[0], partition=place[1])
