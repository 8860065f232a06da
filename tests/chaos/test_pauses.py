"""Pauses of the workload: when they are, and that every run has them."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from chaos.checker.options import Place
from chaos.faults import Aim, Kill, Target
from chaos.history import FaultBegan, Invoke, PauseBegan, PauseEnded, Produce, Read, Tail
from chaos.history_file import HistoryWriter, read_history
from chaos.matrix.cells import cells
from chaos.run import run_scenario
from chaos.scenario.model import Scenario, TimedFault, Workload
from chaos.scenario.random_timeline import random_scenario
from chaos.workload.pauses import Pause, Pauses, plan_pauses
from chaos.workload.recorder import Recorder

PLACES: list[Place] = [("orders", 0), ("orders", 1), ("orders", 2), ("races", 0)]
SLEEPY_S = 1.2
"""After that long nodes sleep that do after one second."""


def _first_seed() -> int:
    first = random.SystemRandom().getrandbits(32)
    sys.stdout.write(f"seeds from {first}\n")
    return first


def test_pauses_come_from_the_seed_and_never_overlap() -> None:
    """Partitions are awake for a while in between, and before the first; each lasts about what was asked."""
    for seed in range(first := _first_seed(), first + 100):
        scenario = random_scenario(seed, 60)
        plan = plan_pauses(scenario, PLACES, seed)
        assert plan == plan_pauses(scenario, PLACES, seed)
        assert plan[0].at_s > 0
        assert all(2.0 <= pause.for_s <= 3.0 for pause in plan)
        assert all(later.at_s > earlier.ends_s + 0.9 for earlier, later in pairwise(plan))
        assert {place for pause in plan for place in pause.places} <= set(PLACES)
        assert all(pause.of_all is (len(pause.places) == len(PLACES)) for pause in plan)


def test_some_faults_find_everything_asleep_and_some_a_part() -> None:
    """And the end of the faults as well: nodes come back while groups sleep."""
    found: defaultdict[str, int] = defaultdict(int)
    for seed in range(first := _first_seed(), first + 100):
        scenario = random_scenario(seed, 60)
        plan = plan_pauses(scenario, PLACES, seed)
        for timed in scenario.faults:
            sleeping = [pause for pause in plan if pause.at_s + SLEEPY_S < timed.at_s < pause.ends_s]
            found[_name(sleeping)] += 1
        found["healed"] += any(pause.at_s + SLEEPY_S < scenario.duration_s < pause.ends_s for pause in plan)
    assert found["all"] > 100
    assert found["some"] > 50
    assert found["none"] > 100
    assert found["healed"] > 10


def _name(sleeping: list[Pause]) -> str:
    return "none" if not sleeping else "all" if sleeping[0].of_all else "some"


def test_every_cell_of_the_matrix_may_find_its_groups_asleep() -> None:
    """In half of the runs; and the partition whose leader is hit is among those that sleep."""
    asleep = total = 0
    first = _first_seed()
    for _ in range(20):
        for cell in cells():
            scenario = cell.scenario()
            timed, total = scenario.faults[0], total + 1
            # One seed draws much alike for all cells, so each gets seeds of its own.
            for pause in plan_pauses(scenario, PLACES, first + total):
                if pause.at_s + SLEEPY_S < timed.at_s < pause.ends_s:
                    asleep += 1
                    if timed.fault.aim.topic:
                        assert ("orders", 0) in pause.places
    assert total / 4 < asleep < total * 3 / 4


def test_a_scenario_may_switch_them_off_or_ask_for_them() -> None:
    """Without a length there are none; with a share of one, every fault begins in one."""
    faults = tuple(
        TimedFault(at_s=at_s, for_s=1, fault=Kill(aim=Aim(target=Target.LEADER, topic="orders")))
        for at_s in (4.0, 12.0, 20.0)
    )
    scenario = Scenario(name="x", faults=faults, workload=Workload(pause_s=0.0))
    assert plan_pauses(scenario, PLACES, 1) == []
    asked = replace(scenario, workload=Workload(pause_s=3.0, pause_at_faults=1.0, pause_every_s=3_600.0))
    for seed in range(first := _first_seed(), first + 50):
        plan = plan_pauses(asked, PLACES, seed)
        assert len(plan) == 4, "three faults, and the healing"
        assert all(pause.at_s < at_s < pause.ends_s for pause, at_s in zip(plan, (4, 12, 20), strict=False))


async def test_a_pause_is_written_down_and_stops_the_clock_of_gaps(tmp_path: Path) -> None:
    """Also one that the end of the workload breaks off."""
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path) as history:
        recorder = Recorder(history)
        recorder.tally.sent(("orders", 0))
        pauses = Pauses([Pause(0.0, 0.01, (("orders", 0),), False), Pause(0.02, 60, tuple(PLACES), True)])
        playing = asyncio.create_task(pauses.play(recorder))
        while not pauses.of_all:  # noqa: ASYNC110 - a part of the plan, which has no event
            await asyncio.sleep(0.001)
        assert all(map(pauses.has, PLACES))
        gap_s = recorder.tally.open_gap_s()
        await asyncio.sleep(0.01)
        assert recorder.tally.open_gap_s() == gap_s
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        assert not pauses.of_all
        assert not any(map(pauses.has, PLACES))
    kinds = [type(event) for event in read_history(path)][1:]
    assert kinds == [PauseBegan, PauseEnded, *[PauseBegan] * 4, *[PauseEnded] * 4]


async def test_a_runs_history_has_pauses_in_which_nobody_asks(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Every partition's producers, readers and tails keep to them, and a fault begins while they last."""
    seed = _first_seed()
    fault = TimedFault(at_s=3.0, for_s=1.0, fault=Kill(aim=Aim(target=Target.LEADER, topic="orders")))
    workload = Workload(pause_at_faults=1.0, pause_s=6.0)  # The fault may need seconds to find the leader.
    scenario = Scenario(name="sleepy", duration_s=4.5, faults=(fault,), workload=workload)
    result = await run_scenario(scenario, tmp_path / "run", seed, binary=toxiproxy_binary)
    pausing: set[Place] = set()
    paused: set[Place] = set()
    asleep_at_fault: set[Place] = set()
    for event in read_history(tmp_path / "run" / "history.jsonl"):
        if isinstance(event, PauseBegan):
            pausing.add((event.topic, event.partition))
            paused |= pausing
        elif isinstance(event, PauseEnded):
            pausing.discard((event.topic, event.partition))
        elif isinstance(event, FaultBegan):
            asleep_at_fault |= pausing
        elif isinstance(event, Invoke) and isinstance(event.action, Produce | Read | Tail):
            assert (event.action.topic, event.action.partition) not in pausing, event
    assert ("orders", 0) in asleep_at_fault
    assert result.check.counts.keys() <= {"no_progress"}, "being late is left to a machine of its own"
