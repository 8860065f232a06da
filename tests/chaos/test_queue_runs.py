"""Runs with workers of a queue, real processes: what they call breaks, and dead letters are replayed."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from chaos.faults import Aim, Kill, Target
from chaos.run import run_scenario
from chaos.scenario.model import Scenario, TimedFault, Workload
from chaos.workload.downstream import plan_breaks
from tests.chaos.lateness import broken


def test_breaks_come_from_the_seed_and_leave_time_between_them() -> None:
    """Each is longer than a queue's pauses; 0 is never."""
    first = random.SystemRandom().getrandbits(32)
    print(f"seeds from {first}")  # noqa: T201 - pytest shows it with the failure
    for seed in range(first, first + 100):
        plan = plan_breaks(60, 10, seed)
        assert plan == plan_breaks(60, 10, seed)
        assert len(plan) >= 3
        assert all(3.5 <= each.for_s <= 6 for each in plan)
        assert all(later.at_s >= each.at_s + each.for_s + 4.9 for each, later in pairwise(plan))
        assert plan_breaks(60, 0, seed) == []


@pytest.mark.long
async def test_a_queue_pauses_and_its_letters_are_replayed_while_its_leaders_end(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """All of it happens in one run, and every promise is kept."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    scenario = Scenario(
        name="queue",
        duration_s=20,
        workload=Workload(
            records_per_s=100,
            tailing_consumers=0,
            rereading_consumers=0,
            racers=0,
            topic_admins=0,
            queue_workers=8,
            pause_s=0,
        ),
        faults=(TimedFault(at_s=12, for_s=2, fault=Kill(aim=Aim(target=Target.METADATA_LEADER))),),
    )
    result = await run_scenario(scenario, tmp_path / "run", seed, binary=toxiproxy_binary)
    assert (broken(result.check), result.deaths, result.unready) == ([], {}, {})
    figures = result.check.figures
    assert figures.queue_pauses > 0
    assert 0 < figures.queue_replayed <= figures.queue_dead_letters
