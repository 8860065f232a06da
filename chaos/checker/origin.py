"""Every record that can be read was sent, and not reported as failed."""

from __future__ import annotations

from chaos.checker.placement import Placement
from chaos.checker.records import Records
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.record_value import name_of


def check_origin(records: Records, placement: Placement, findings: Findings) -> None:
    """Check every value that was seen anywhere."""
    for value, packed in placement.place.items():
        if records.is_known(value) and not records.has_failed(value):
            continue
        number, offset = records.places.unpack(packed)
        topic, partition = records.places.all[number]
        seen = Evidence(f"{name_of(value)} seen at offset {offset}", None, offset, value)
        if records.is_known(value):
            failed = Evidence(f"{name_of(value)} reported as failed", records.settled_ns[value], None, value)
            findings.add(
                Kind.FAILED_RECORD_READ,
                f"{name_of(value)} was reported as failed but is at offset {offset}",
                failed,
                seen,
                topic=topic,
                partition=partition,
            )
        else:
            summary = f"offset {offset} holds {name_of(value)}, which no workload wrote"
            findings.add(Kind.FOREIGN_RECORD, summary, seen, topic=topic, partition=partition)
