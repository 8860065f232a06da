"""One offset, one value; one value, one offset: according to producers, consumers and disks alike.

Everything later is compared with what was first seen at an offset, or of a value.
"""

from __future__ import annotations

from collections import defaultdict

from chaos.checker.chunked_ints import ABSENT, ChunkedInts
from chaos.checker.final_state import MISSING, ReplicaState
from chaos.checker.records import Records
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, Invoke, Ok, Page, Produce, Produced, Read
from chaos.record_value import FOREIGN, name_of


class Placement:
    """Where values were seen."""

    def __init__(self, records: Records, findings: Findings) -> None:
        self._records = records
        self._places = records.places
        self._findings = findings
        self.log: dict[int, ChunkedInts] = defaultdict(ChunkedInts)
        """partition -> offset -> value"""
        self._log_ns: dict[int, ChunkedInts] = defaultdict(ChunkedInts)
        self.place = ChunkedInts()
        """value -> packed place"""
        self.reported: set[int] = set()
        """values that were reported at more offsets than allowed"""
        self._further: dict[int, list[tuple[int, Evidence]]] = {}
        self._conflicts: set[tuple[int, int]] = set()

    def see(self, event: Event, call: Invoke | None) -> None:
        """Note the places of values in an answer."""
        if not isinstance(event, Ok) or call is None:
            return
        action, result = call.action, event.result
        if isinstance(action, Produce) and isinstance(result, Produced):
            if result.first_offset >= 0 and action.acks == "quorum":
                self._run(action, result.first_offset, action.values, "acknowledged to", call, event)
        elif isinstance(action, Read) and isinstance(result, Page):
            for run in result.runs:
                self._run(action, run.first_offset, run.values, "read by", call, event)

    def see_replica(self, replica: ReplicaState) -> None:
        """Note the places of values in a data folder."""
        number = self._places.number(replica.topic, replica.partition)
        for offset, value in enumerate(replica.values, replica.start_offset):
            if value != MISSING and self._is_news(number, offset, value):
                what = f"{name_of(value)} on the disk of {replica.node}"
                self._add(number, offset, value, Evidence(what, None, offset, value, replica.node))

    def places_of(self, value: int) -> list[int]:
        """Every packed place that a value was seen at, the first one first."""
        first = self.place[value]
        return [] if first == ABSENT else [first, *(packed for packed, _ in self._further.get(value, ()))]

    def has_copies(self, value: int) -> bool:
        """Whether it was seen at several places."""
        return value in self._further

    def finish(self) -> None:
        """Report the values at more offsets than allowed."""
        for value, further in sorted(self._further.items()):
            is_known = self._records.is_known(value)
            is_idempotent = is_known and self._records.is_idempotent(value)
            allowed = 1 if is_idempotent or not is_known else max(1, self._records.possible[value])
            if 1 + len(further) <= allowed:
                continue
            self.reported.add(value)
            number, offset = self._places.unpack(self.place[value])
            topic, partition = self._places.all[number]
            kind = Kind.DUPLICATE if is_idempotent else Kind.VALUE_AT_TWO_OFFSETS
            where = [offset, *(self._places.unpack(packed)[1] for packed, _ in further)]
            self._findings.add(
                kind,
                f"{name_of(value)} is at offsets {', '.join(map(str, where))}",
                self._first_seen(number, offset, value),
                *(evidence for _, evidence in further),
                topic=topic,
                partition=partition,
            )

    def _run(
        self, at: Produce | Read, first_offset: int, values: list[int], how: str, call: Invoke, event: Ok
    ) -> None:
        number = self._places.number(at.topic, at.partition)
        for offset, value in enumerate(values, first_offset):
            if self._is_news(number, offset, value):
                what = f"{name_of(value)} {how} {call.process}"
                evidence = Evidence(what, event.time_ns, offset, value, event.node, call.process, event.op)
                self._add(number, offset, value, evidence)

    def _is_news(self, number: int, offset: int, value: int) -> bool:
        if value == FOREIGN:
            return True
        is_here = self.log[number][offset] == value
        return not (is_here and self.place[value] == self._places.pack(number, offset))

    def _add(self, number: int, offset: int, value: int, evidence: Evidence) -> None:
        if value == FOREIGN:
            self._foreign(number, evidence)
            return
        there = self.log[number][offset]
        if there == ABSENT:
            self.log[number][offset] = value
            self._log_ns[number][offset] = evidence.time_ns or 0
        elif there != value:
            self._conflict(number, offset, there, evidence)
        packed = self._places.pack(number, offset)
        if self.place[value] == ABSENT:
            self.place[value] = packed
        elif packed not in self.places_of(value):
            self._further.setdefault(value, []).append((packed, evidence))

    def _foreign(self, number: int, evidence: Evidence) -> None:
        topic, partition = self._places.all[number]
        summary = f"offset {evidence.offset} holds a record that no workload wrote"
        self._findings.add(Kind.FOREIGN_RECORD, summary, evidence, topic=topic, partition=partition)

    def _conflict(self, number: int, offset: int, there: int, evidence: Evidence) -> None:
        assert evidence.value is not None
        if (self._places.pack(number, offset), evidence.value) in self._conflicts:
            return
        self._conflicts.add((self._places.pack(number, offset), evidence.value))
        topic, partition = self._places.all[number]
        self._findings.add(
            Kind.TWO_VALUES_AT_ONE_OFFSET,
            f"offset {offset} holds {name_of(there)} and {name_of(evidence.value)}",
            self._first_seen(number, offset, there),
            evidence,
            topic=topic,
            partition=partition,
        )

    def _first_seen(self, number: int, offset: int, value: int) -> Evidence:
        time_ns = self._log_ns[number][offset]
        return Evidence(f"{name_of(value)} first seen at offset {offset}", time_ns or None, offset, value)
