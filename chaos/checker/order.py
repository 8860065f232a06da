"""Records of a producer are in the order of its sends, and records stored earlier come before later ones."""

from __future__ import annotations

from chaos.checker.placement import Placement
from chaos.checker.records import Records
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, Invoke, Ok, Produce, Produced
from chaos.record_value import name_of, producer_of


class Order:
    """Checks the order between answers and later requests of any process, then the order in the logs."""

    def __init__(self, records: Records, findings: Findings) -> None:
        self._records = records
        self._findings = findings
        self._end: dict[int, Evidence] = {}
        self._floors: dict[int, Evidence] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """A record that is sent after another was acknowledged gets a higher offset."""
        if isinstance(event, Invoke) and isinstance(event.action, Produce):
            number = self._records.places.number(event.action.topic, event.action.partition)
            if number in self._end:
                self._floors[event.op] = self._end[number]
        elif call is not None and isinstance(call.action, Produce):
            floor = self._floors.pop(call.op, None)
            if isinstance(event, Ok) and isinstance(event.result, Produced):
                self._acknowledged(call, call.action, event, event.result.first_offset, floor)

    def check_logs(self, placement: Placement) -> None:
        """Walk through every log as it was seen."""
        for number, log in placement.log.items():
            topic, partition = self._records.places.all[number]
            highest: dict[int, tuple[int, int]] = {}
            for offset, value in log.items():
                producer = producer_of(value)
                is_copy = placement.has_copies(value)
                if (
                    is_copy
                    or not self._records.is_known(value)
                    or not self._records.producers[producer].ordered
                ):
                    continue
                before = highest.get(producer)
                if before is not None and value < before[1]:
                    self._findings.add(
                        Kind.OUT_OF_ORDER,
                        f"{name_of(value)} at offset {offset} comes after {name_of(before[1])}",
                        Evidence(f"{name_of(before[1])} at offset {before[0]}", None, before[0], before[1]),
                        Evidence(f"{name_of(value)} at offset {offset}", None, offset, value),
                        topic=topic,
                        partition=partition,
                    )
                else:
                    highest[producer] = (offset, value)

    def _acknowledged(
        self, call: Invoke, action: Produce, event: Ok, first_offset: int, floor: Evidence | None
    ) -> None:
        if first_offset < 0 or action.acks != "quorum":
            return
        number = self._records.places.number(action.topic, action.partition)
        last = first_offset + len(action.values) - 1
        what = f"{name_of(action.values[-1])} acknowledged at offset {last}"
        evidence = Evidence(what, event.time_ns, last, action.values[-1], event.node, call.process, call.op)
        # A value that was sent before may be answered with the offset of its first send.
        is_new = self._records.sends[action.values[0]] == 1
        if is_new and floor is not None and floor.offset is not None and first_offset <= floor.offset:
            self._findings.add(
                Kind.OUT_OF_ORDER,
                f"{name_of(action.values[0])} got offset {first_offset}; "
                f"offset {floor.offset} had been acknowledged before it was sent",
                floor,
                evidence,
                topic=action.topic,
                partition=action.partition,
            )
        highest = self._end.get(number)
        if highest is None or highest.offset is None or last > highest.offset:
            self._end[number] = evidence
