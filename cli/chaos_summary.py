"""The end of a chaos run in words: violations with their evidence, gaps, the verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chaos.checker.violation import Evidence, Violation
from chaos.run import RunResult
from cli.output import Column, View, field
from cli.session import talk

_SHOWN_OF_A_KIND = 5
_EVIDENCE_SHOWN = 6

RESULT = View(
    columns=(
        field("Scenario"),
        field("Seed", right=True),
        field("Nodes", right=True),
        Column("Verdict", lambda run: "clean" if run["clean"] else "violated"),
        Column("Violations", lambda run: sum(run["counts"].values()), right=True),
        field("Records", "records_acknowledged", right=True),
        field("Longest gap s", "longest_gap_s", right=True),
        field("Recovery s", "recovery_s", right=True),
        field("Folder", wide=True),
    ),
    name=lambda run: str(run["folder"]),
    items=lambda run: [run],
)


def document(result: RunResult) -> dict[str, Any]:
    """The verdict as data; report.json has everything."""
    figures = result.check.figures
    return {
        "scenario": result.scenario.name,
        "seed": result.seed,
        "nodes": len(result.nodes),
        "clean": result.is_clean,
        "counts": {str(kind): count for kind, count in sorted(result.check.counts.items())},
        "deaths": dict(result.deaths),
        "unready": dict(result.unready),
        "records_sent": figures.records_sent,
        "records_acknowledged": figures.records_acknowledged,
        "operations": figures.operations,
        "longest_gap_s": _rounded(max((gap.seconds for gap in result.check.gaps), default=None)),
        "recovery_s": _rounded(max((each.seconds for each in result.check.recoveries), default=None)),
        "notes": result.notes,
        "folder": str(result.folder),
    }


def explain(result: RunResult) -> None:
    """Print the findings on stderr."""
    for node, code in sorted(result.deaths.items()):
        talk(f"violated: {node} ended by itself, or did not stop in order (exit code {code}): see its log")
    for node, reason in sorted(result.unready.items()):
        talk(f"violated: {node} did not come back: {reason}")
    shown: Counter[str] = Counter()
    for violation in sorted(result.check.violations, key=lambda each: each.kind):
        shown[violation.kind] += 1
        if shown[violation.kind] == 1:
            talk(f"violated: {violation.kind} ({result.check.counts[violation.kind]})")
        if shown[violation.kind] <= _SHOWN_OF_A_KIND:
            _explain_one(result, violation)
    for note in result.notes:
        talk(f"note: {note}")
    for gap in result.check.gaps:
        what = gap.name or "the whole run"
        nodes = f" ({', '.join(gap.nodes)})" if gap.nodes else ""
        talk(f"longest gap of {what}{nodes}: {gap.seconds:.2f} s in {gap.topic}/{gap.partition}")
    talk("every promise was kept" if result.is_clean else "promises were broken")


def _explain_one(result: RunResult, violation: Violation) -> None:
    where = violation.topic if violation.partition is None else f"{violation.topic}/{violation.partition}"
    talk(f"  {where + ': ' if where else ''}{violation.summary}")
    for evidence in violation.evidence[:_EVIDENCE_SHOWN]:
        talk(f"    {_told(result, evidence)}")
    left = len(violation.evidence) - _EVIDENCE_SHOWN
    if left > 0:
        talk(f"    and {left} more: see report.json")


def _told(result: RunResult, evidence: Evidence) -> str:
    parts = [evidence.what]
    if evidence.time_ns is not None:
        parts.append(f"at {(evidence.time_ns - result.began_ns) / 1e9:.3f} s")
    if evidence.node:
        parts.append(evidence.node)
    if evidence.op is not None:
        parts.append(f"operation {evidence.op}")
    return ", ".join(parts)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
