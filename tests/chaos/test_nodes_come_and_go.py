"""Nodes that come, go, are replaced and lost for good, with real processes: short runs of their own."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.faults import Aim, Kill, LostMajority, Replace, Target
from chaos.history import Recovered
from chaos.history_file import read_history
from chaos.run import run_scenario
from chaos.run_record import HISTORY_FILE
from chaos.scenario.builtin import builtin_scenario
from chaos.scenario.model import Scenario, TimedFault, Workload
from chaos.verdict import RunResult
from tests.chaos.lateness import broken

_CALM = Workload(pause_s=0, topic_admins=0)


async def _ran(scenario: Scenario, folder: Path, binary: Path) -> RunResult:
    """A run that left nothing out and broke no promise."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    result = await run_scenario(scenario, folder, seed, binary=binary)
    assert result.notes == []
    assert (broken(result.check), result.deaths, result.unready) == ([], {}, {})
    assert result.check.figures.records_acknowledged > 100
    return result


async def test_a_machine_is_replaced_and_then_a_majority_is_lost(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """The controller is killed while another machine takes a dead one's place. Then two of three disks are
    gone: the history names every partition, with where the replica that is left ended; nothing else is lost.
    """
    faults = (
        TimedFault(at_s=1, for_s=1, fault=Replace(aim=Aim(node="n2"))),
        TimedFault(at_s=2.5, for_s=0.5, fault=Kill(aim=Aim(target=Target.METADATA_LEADER))),
        TimedFault(at_s=3, for_s=0, fault=LostMajority(aim=Aim(target=Target.MAJORITY))),
    )
    scenario = Scenario(name="replaced", duration_s=3, faults=faults, workload=_CALM)
    result = await _ran(scenario, tmp_path / "run", toxiproxy_binary)
    assert result.nodes == ["n1", "n2", "n3", "n4"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["nodes"] == ["n1", "n3", "n4"]
    (recovered,) = (e for e in read_history(tmp_path / "run" / HISTORY_FILE) if isinstance(e, Recovered))
    assert sorted((each.topic, each.partition) for each in recovered.given_up) == [
        *(("orders", 0), ("orders", 1), ("races", 0))
    ]
    assert all(each.offset > 0 for each in recovered.given_up)


@pytest.mark.long
@pytest.mark.parametrize("name", ["growing", "shrinking", "replaced-machine"])
async def test_a_scenario_in_which_nodes_come_and_go(
    name: str, toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """As it comes along, but for the admins' topics, which take no part in it."""
    scenario = replace(builtin_scenario(name), workload=_CALM)
    await _ran(scenario, tmp_path / "run", toxiproxy_binary)
