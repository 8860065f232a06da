"""The table of the fault matrix, and what a cell may do in which data of a majority are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.checker.check import CheckResult, Figures
from chaos.checker.violation import Kind, Violation
from chaos.faults.aim import Target
from chaos.matrix.cells import EXCLUDED, REFUSED, cells
from chaos.matrix.refusal import refusal_faults
from chaos.matrix.rows import ROWS
from chaos.scenario.builtin import builtin_names, builtin_scenario
from chaos.scenario.kinds import kinds
from chaos.scenario.model import Scenario
from chaos.scenario.toml_form import parse_scenario, to_toml
from chaos.verdict import RunResult

SAYS = {"n1": "not ready: 1 replicas have lost data: they have no vote before others have given it back"}


def test_every_cell_is_a_scenario_that_can_be_run() -> None:
    """Read back from its text it is the same; no two have one name, which is no built-in scenario's."""
    for cell in cells():
        assert parse_scenario(to_toml(cell.scenario())) == cell.scenario()
    names = [cell.name for cell in cells()]
    assert len(names) == len(set(names))
    assert not set(names) & set(builtin_names())


def test_every_kind_of_fault_is_in_the_matrix() -> None:
    """But for rolling restarts, which are of all nodes in turn and a scenario of their own, and for changes
    of who holds what and which nodes there are: they have scenarios with other faults, as they are drawn.
    """
    reshaping = {"drain", "join", "lost majority", "moves", "remove", "replaced machine"}
    assert set(kinds()) - {row.kind for row in ROWS.values()} == {"rolling restart", *reshaping}
    scenarios = [builtin_scenario(name) for name in builtin_names()]
    assert reshaping <= {timed.fault.kind for scenario in scenarios for timed in scenario.faults}


def test_no_cell_is_left_out_unless_a_reason_is_given() -> None:
    """Each row has all five targets, or names those it has; what stands in no cell is explained."""
    for row in ROWS.values():
        there = {cell.target for cell in cells() if cell.row is row}
        left_out = {target for name, target in EXCLUDED if name == row.name}
        assert there | left_out == set(row.targets)
    assert all(EXCLUDED.values())
    assert not set(EXCLUDED) & REFUSED
    assert {row.name for row in ROWS.values() if row.targets != tuple(Target)} == {"flipped-metadata"}


def _result(
    *found: tuple[Kind, int], deaths: dict[str, int] | None = None, unready: dict[str, str] | None = None
) -> RunResult:
    violations = tuple(Violation(kind, "", topic="orders", partition=partition) for kind, partition in found)
    counts = {kind: sum(1 for other, _ in found if other is kind) for kind, _ in found}
    figures = Figures(0, 0, 0, 0, 0, 0, 0)
    return RunResult(
        folder=Path(),
        scenario=Scenario(name="x"),
        seed=1,
        nodes=["n1", "n2", "n3"],
        check=CheckResult(violations, counts, (), (), figures),
        deaths=deaths or {},
        unready=unready or {},
        began_ns=0,
        healed_ns=1,
        ended_ns=2,
        began_wall_ns=0,
        notes=[],
    )


REFUSES = ((Kind.LOST_TAIL, 0), (Kind.NO_PROGRESS, 0), (Kind.REPLICAS_DIFFER, 0))


def test_a_partition_that_refuses_and_says_so_is_right() -> None:
    """Its tail is gone, nobody leads it, its nodes tell why; and so is one that was mended."""
    assert refusal_faults(_result(*REFUSES, unready=SAYS)) == []
    assert refusal_faults(_result()) == []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (_result(*REFUSES), "no node says"),
        (_result(*REFUSES, unready={"n1": "no answer"}), "no node says"),
        (
            _result((Kind.LOST_TAIL, 0), (Kind.NO_PROGRESS, 1), unready=SAYS),
            "lost records and accepted",
        ),
        (_result(*REFUSES, (Kind.STALE_READ, 0), unready=SAYS), "stale_read (1)"),
        (_result(*REFUSES, (Kind.TWO_VALUES_AT_ONE_OFFSET, 0), unready=SAYS), "two_values_at_one_offset (1)"),
        (_result(*REFUSES, unready=SAYS, deaths={"n2": 1}), "n2 ended with exit code 1"),
    ],
    ids=["silent", "silent besides", "served", "stale", "wrong", "died"],
)
def test_a_loss_that_is_served_or_not_told_is_wrong(result: RunResult, said: str) -> None:
    """Whoever lost data of a majority may be silent about nothing, and serve nothing that is wrong."""
    (found,) = refusal_faults(result)
    assert said in found
