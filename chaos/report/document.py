"""The content of report.json. docs/CHAOS.md explains every field; a test compares the two.

Times named ``_s`` are seconds since the run began, durations too; latencies are milliseconds. Whatever could
grow with the run's length is bounded, with a field beside it that says how much was left out.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

VERSION: Final = 1


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of a report."""


class Machine(_Part, frozen=True):
    """The machine it ran on, without names."""

    cores: int
    python: str
    system: str
    kernel: str
    architecture: str


class Latency(_Part, frozen=True):
    """Of stored produces, or of polls with records. Quantiles: up to 3.2 % too high; ``max_ms``: exact."""

    count: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Gap(_Part, frozen=True):
    """Nothing was stored in a partition that clients wrote to. ``seconds``: without its pauses."""

    topic: str
    partition: int
    from_s: float
    to_s: float
    seconds: float


class Recovery(_Part, frozen=True):
    """From healing to the first commit of a partition that was asked for after it."""

    topic: str
    partition: int
    healed_s: float
    seconds: float


class Figures(_Part, frozen=True):
    """The run in numbers. Each record is counted once, by the best outcome of its sends."""

    records_sent: int
    records_acknowledged: int
    records_unknown: int
    records_failed: int
    records_lost: int
    records_read: int
    reads: int
    reads_failed: int
    metadata_operations: int
    conditional_operations: int
    replicas_checked: int
    longest_gap: Gap | None
    recoveries: list[Recovery]
    recoveries_left_out: int
    produce: Latency
    read: Latency


class Evidence(_Part, frozen=True):
    """One fact. ``record`` is producer.number."""

    what: str
    at_s: float | None
    offset: int | None
    record: str
    node: str
    process: str
    op: int | None


class LogLine(_Part, frozen=True):
    """A line of a node's log."""

    at_s: float
    node: str
    level: str
    text: str


class Violation(_Part, frozen=True):
    """A broken promise, its evidence, and the nodes' log lines within two seconds of the evidence."""

    kind: str
    summary: str
    topic: str
    partition: int | None
    evidence: list[Evidence]
    evidence_left_out: int
    log: list[LogLine]


class Fault(_Part, frozen=True):
    """A fault and its time. ``longest_gap`` overlaps that time and is given in full."""

    number: int
    kind: str
    aim: str
    nodes: list[str]
    from_s: float
    to_s: float
    longest_gap: Gap | None


class Series(_Part, frozen=True):
    """One number per bucket of ``bucket_s`` seconds from the beginning on; None: no operation ended in it."""

    bucket_s: float
    produced_per_s: list[float]
    read_per_s: list[float]
    not_acknowledged_per_s: list[float]
    produce_p50_ms: list[float | None]
    produce_p99_ms: list[float | None]
    read_p50_ms: list[float | None]
    read_p99_ms: list[float | None]


class Band(_Part, frozen=True):
    """From when a node was first seen to lead in a term until a later term's leader was seen."""

    node: str
    term: int
    from_s: float
    to_s: float


class Leaders(_Part, frozen=True):
    """The leaders of a partition (topic/number), or of the metadata."""

    group: str
    bands: list[Band]


class Outage(_Part, frozen=True):
    """Nothing was stored for longer than ``outage_s_min``: in a partition, or, if that is None, in any."""

    topic: str
    partition: int | None
    from_s: float
    to_s: float


class Pause(_Part, frozen=True):
    """Writes to a partition paused on purpose: that nothing was stored there is not an outage."""

    topic: str
    partition: int
    from_s: float
    to_s: float


class Repeat(_Part, frozen=True):
    """How to repeat the same cluster, load and faults."""

    command: str
    scenario_toml: str


class Report(_Part, frozen=True):
    """The whole report."""

    version: int
    scenario: str
    description: str
    seed: int
    nodes: list[str]
    began: str
    duration_s: float
    healed_s: float
    machine: Machine
    verdict: Literal["clean", "violated"]
    figures: Figures
    violation_counts: dict[str, int]
    violations: list[Violation]
    deaths: dict[str, int]
    unready: dict[str, str]
    faults: list[Fault]
    faults_left_out: int
    outage_s_min: float
    outages: list[Outage]
    outages_left_out: int
    pauses: list[Pause]
    pauses_left_out: int
    leaders: list[Leaders]
    leaders_left_out: int
    series: Series
    notes: list[str]
    repeat: Repeat
    not_covered: list[str]
