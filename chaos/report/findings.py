"""The violations for the report: the first of every kind, with the nodes' log lines of that time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos.checker import violation as found
from chaos.record_value import name_of
from chaos.report import document
from chaos.report.node_logs import lines_around
from chaos.report.timescale import Timescale

PER_KIND_MAX: Final = 12
LOGGED_PER_KIND_MAX: Final = 3
EVIDENCE_MAX: Final = 20
TEXT_CHARS_MAX: Final = 400


def show(
    violations: Sequence[found.Violation], times: Timescale, logs: Path, nodes: Sequence[str]
) -> list[document.Violation]:
    """The first ``PER_KIND_MAX`` of each kind; the log lines with the first ``LOGGED_PER_KIND_MAX``."""
    seen: Counter[found.Kind] = Counter()
    shown: list[found.Violation] = []
    moments: list[list[int]] = []
    for violation in violations:
        seen[violation.kind] += 1
        if seen[violation.kind] > PER_KIND_MAX:
            continue
        shown.append(violation)
        with_log = seen[violation.kind] <= LOGGED_PER_KIND_MAX
        moments.append(_moments(violation) if with_log else [])
    logged = lines_around(logs, nodes, times, moments)
    return [_shown(each, log, times) for each, log in zip(shown, logged, strict=True)]


def _moments(violation: found.Violation) -> list[int]:
    return [each.time_ns for each in violation.evidence[:EVIDENCE_MAX] if each.time_ns is not None]


def _shown(violation: found.Violation, log: list[document.LogLine], times: Timescale) -> document.Violation:
    evidence = violation.evidence[:EVIDENCE_MAX]
    return document.Violation(
        kind=violation.kind.value,
        summary=violation.summary[:TEXT_CHARS_MAX],
        topic=violation.topic,
        partition=violation.partition,
        evidence=[_fact(each, times) for each in evidence],
        evidence_left_out=len(violation.evidence) - len(evidence),
        log=log,
    )


def _fact(evidence: found.Evidence, times: Timescale) -> document.Evidence:
    return document.Evidence(
        what=evidence.what[:TEXT_CHARS_MAX],
        at_s=None if evidence.time_ns is None else times.seconds(evidence.time_ns),
        offset=evidence.offset,
        record="" if evidence.value is None else name_of(evidence.value),
        node=evidence.node,
        process=evidence.process,
        op=evidence.op,
    )
