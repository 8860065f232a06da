"""The figures of a run, as they are kept in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPLICAS = 3
WORKS = ("one", "many", "flood", "read", "paced")
TITLES = {
    "one": "one caller, one {size} record at a time",
    "many": "64 callers, one {size} record each at a time",
    "flood": "batched writing, {size} records",
    "read": "reading from the start, {size} records",
    "paced": "end to end at a fixed rate, {size} records",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement in one round."""

    variant: str
    way: str
    work: str
    size: int
    round: int
    records: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    server_cpu_s: float
    client_cpu_s: float
    written_bytes: int
    target_rate: int = 0
    """Records a second that were asked for; 0: as many as can be."""

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def megabytes_s(self) -> float:
        """Payload."""
        return self.rate * self.size / 1e6

    @property
    def written_per_byte(self) -> float:
        """Bytes that each server made the disk write for a byte of payload."""
        return self.written_bytes / (REPLICAS * self.records * self.size) if self.records else 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Which lines of the table belong together over the rounds."""
        return self.variant, self.way


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that the table and the plot show."""

    date: str
    machine: str
    scale: str
    versions: Mapping[str, str]
    labels: Mapping[str, str]
    """variant -> its name for people, in the order of the table."""
    synced: Sequence[str]
    """The variants whose acknowledgement means: on the disks of a majority."""
    absent: Mapping[str, str]
    """variant -> why it could not be measured."""
    notes: Sequence[str] = field(default_factory=list)
    figures: Sequence[Figure] = field(default_factory=list)

    def of(self, work: str, size: int) -> dict[tuple[str, str], list[Figure]]:
        """(variant, way) -> its figures over the rounds, in the order of the table."""
        found: dict[tuple[str, str], list[Figure]] = {}
        for name in self.labels:
            for figure in self.figures:
                if (figure.variant, figure.work, figure.size) == (name, work, size):
                    found.setdefault(figure.key, []).append(figure)
        return found

    def measured(self) -> list[tuple[str, int]]:
        """(work, size) in the order of the table."""
        there = {(figure.work, figure.size) for figure in self.figures}
        return sorted(there, key=lambda each: (WORKS.index(each[0]), -each[1]))


def save(results: Results, path: Path) -> None:
    """Write it."""
    path.write_text(json.dumps(asdict(results), indent=1))


def load(path: Path) -> Results:
    """Read what ``save`` wrote."""
    found = json.loads(path.read_text())
    return Results(**{**found, "figures": [Figure(**each) for each in found["figures"]]})


def title(work: str, size: int) -> str:
    """What was done, in words."""
    return TITLES[work].format(size="1 KiB" if size == 1024 else f"{size} B")


def line(figure: Figure) -> str:
    """One measurement, as it is told when it is there."""
    latency = (
        f"  p50 {figure.p50_ms:.2f} ms  p99 {figure.p99_ms:.2f} ms" if figure.p50_ms and figure.p99_ms else ""
    )
    name = f"{figure.variant} {figure.way}".strip()
    asked = f"  of {figure.target_rate:,}/s asked for" if figure.target_rate else ""
    return (
        f"round {figure.round + 1}  {name:<18} {figure.work:<6} {figure.size:>5} B "
        f"{figure.rate:>11,.0f}/s {figure.megabytes_s:>7.1f} MB/s{latency}{asked}"
    )
