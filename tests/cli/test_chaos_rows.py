"""What a run of many comes to, from what it printed."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.matrix.cells import cells
from cli.chaos_row import Job, row_of, verdict_of

JOB = Job(cells()[0].scenario(), 1, is_of_matrix=True)
LEFT_OUT = "kill on leader was left out: nobody leads partition orders/0 for 10 s"


def _found(**more: Any) -> dict[str, Any]:
    found = {"clean": not more.get("counts"), "counts": {}, "deaths": {}, "unready": {}, "notes": []}
    return {**found, "folder": "runs/x", "records_acknowledged": 7, **more}


@pytest.mark.parametrize(
    ("found", "busy", "verdict"),
    [
        (_found(), 1.0, "clean"),
        (_found(counts={"no_progress": 2}), 0.95, "late"),
        (_found(counts={"no_progress": 2}), 0.5, "violated"),
        (_found(counts={"no_progress": 2, "lost_tail": 1}), 1.0, "violated"),
        (_found(counts={"no_progress": 2}, deaths={"n1": 1}), 1.0, "violated"),
        (_found(counts={"no_progress": 2}, unready={"n1": "no answer"}), 1.0, "violated"),
        (_found(notes=[LEFT_OUT]), 0.1, "broken"),
    ],
)
def test_a_run_is_late_only_when_nothing_else_is_wrong_and_the_machine_is_busy(
    found: dict[str, Any], busy: float, verdict: str
) -> None:
    """And one that left out the fault that it is about has shown nothing."""
    assert verdict_of(JOB, found, busy)[0] == verdict


def test_a_row_counts_what_is_lost_and_says_why() -> None:
    """All kinds of loss together; what else was found stands in words."""
    found = _found(counts={"lost_tail": 2, "lost_all": 3, "stale_read": 1}, deaths={"n2": 1})
    verdict, why = verdict_of(JOB, found, 0.0)
    row = row_of(JOB, verdict, why, found=found)
    assert (row["verdict"], row["records_lost"], row["records_acknowledged"]) == ("violated", 5, 7)
    assert row["why"] == "lost_tail 2, lost_all 3, stale_read 1, n2 ended with 1"


def test_a_run_that_was_not_made_has_a_row_too() -> None:
    """With its seed, and without figures."""
    row = row_of(JOB, "not run", "the time was up")
    assert (row["seed"], row["records_acknowledged"], row["seconds"]) == (1, None, None)
