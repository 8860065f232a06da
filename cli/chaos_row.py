"""One run of many: the job, and its row in the table of results."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from chaos.checker.violation import Kind
from chaos.matrix.refusal import refusal_faults
from chaos.scenario.model import Scenario
from chaos.verdict import judge

_BUSY: Final = 0.9
"""Above this share a machine counts as overloaded: starting Python alone takes seconds then."""
FINE: Final = frozenset({"clean", "refused", "late"})
"""refused: as it should, because a majority lost its data. late: only the healing took too long, the machine
was overloaded, and the same run was clean when it was repeated alone."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run to make.

    may_refuse    see ``chaos.matrix.refusal``
    is_of_matrix  it has only the fault that it is about, so it proves nothing if that was left out
    """

    scenario: Scenario
    seed: int
    may_refuse: bool = False
    is_of_matrix: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.scenario.name}-{self.seed}"


class Watch:
    """Measures how long a run takes and how busy the machine is meanwhile, with any processes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._times = psutil.cpu_times()

    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def busy(self) -> float:
        """The share of all cores' time that was not idle."""
        spent = [now - then for now, then in zip(psutil.cpu_times(), self._times, strict=True)]
        return 1 - (psutil.cpu_times().idle - self._times.idle) / max(sum(spent), 0.001)


def verdict_of(job: Job, found: dict[str, Any], busy: float) -> tuple[str, str]:
    """The verdict on a run that has concluded, and why. ``busy``: how busy the machine was. Blocks."""
    if found["clean"]:
        left_out = [note for note in found["notes"] if "was left out" in note] if job.is_of_matrix else []
        return ("broken", left_out[0]) if left_out else ("clean", "")
    if job.may_refuse:
        wrong = refusal_faults(judge(Path(found["folder"])))
        return ("violated", "; ".join(wrong)) if wrong else ("refused", "as it should: " + _in_short(found))
    is_just_late = set(found["counts"]) == {Kind.NO_PROGRESS} and not found["deaths"] and not found["unready"]
    return "late" if is_just_late and busy >= _BUSY else "violated", _in_short(found)


def _in_short(found: dict[str, Any]) -> str:
    parts = [f"{kind} {count}" for kind, count in found["counts"].items()]
    parts += [f"{node} ended with {code}" for node, code in found["deaths"].items()]
    parts += [f"{node} did not come back" for node in found["unready"]]
    return ", ".join(parts)


def row_of(
    job: Job, verdict: str, why: str, watch: Watch | None = None, found: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The row, as a document."""
    found = found or {}
    counts: dict[str, int] = found.get("counts", {})
    return {
        "scenario": job.scenario.name,
        "nodes": job.scenario.nodes,
        "seed": job.seed,
        "verdict": verdict,
        "records_acknowledged": found.get("records_acknowledged"),
        "records_lost": sum(count for kind, count in counts.items() if kind.startswith("lost_")),
        "longest_gap_s": found.get("longest_gap_s"),
        "recovery_s": found.get("recovery_s"),
        "seconds": watch and round(watch.seconds(), 1),
        "machine_busy": watch and f"{watch.busy():.0%}",
        "why": why,
        "notes": found.get("notes", []),
        "folder": found.get("folder"),
    }
