"""Random scenarios: the same from the same seed, valid from every seed."""

from __future__ import annotations

import itertools
import random

import pytest

from chaos.scenario.random_timeline import RECIPES, random_scenario
from chaos.scenario.toml_form import parse_scenario, to_toml


def test_a_seed_stands_for_its_scenario() -> None:
    """Twice the same, another one from another seed, and the text can be run in its place."""
    assert random_scenario(7, 60, 3) == random_scenario(7, 60, 3)
    assert random_scenario(7, 60, 3) != random_scenario(8, 60, 3)
    assert random_scenario(7, 60, 3) != random_scenario(7, 60, 5)


@pytest.mark.parametrize("nodes", [1, 3, 5])
def test_what_is_drawn_is_valid_and_of_all_kinds(nodes: int) -> None:
    """Read back from text, many scenarios are the same; each kind is drawn, and some faults overlap.

    Replicas are moved only where there is a node without one. Nodes come and go where there are three at
    least: three are left at any time, seven there ever are. A majority is lost once, without topic admins.
    """
    first = random.SystemRandom().getrandbits(32)
    print(f"seeds from {first}")  # noqa: T201 - pytest shows it with the failure
    kinds, overlaps = set(), 0
    for seed in range(first, first + 300):  # Some kinds are in one of twelve.
        scenario = random_scenario(seed, 60, nodes)
        assert parse_scenario(to_toml(scenario)) == scenario
        drawn = [timed.fault.kind for timed in scenario.faults]
        kinds.update(drawn)
        left = list(
            itertools.accumulate(({"join": 1, "remove": -1}.get(kind, 0) for kind in drawn), initial=nodes)
        )
        assert min(left) >= min(nodes, 3)
        assert nodes + scenario.further <= 7
        assert drawn.count("lost majority") == (0 if scenario.workload.topic_admins else 1)
        overlaps += sum(
            before.at_s + before.for_s > after.at_s for before, after in itertools.pairwise(scenario.faults)
        )
    coming_and_going = {"join", "remove", "replaced machine", "lost majority"}
    moving = {"drain", "moves"}
    left_out = {1: coming_and_going | moving, 3: moving}
    assert kinds == RECIPES.keys() - left_out.get(nodes, set())
    assert overlaps > 0


def test_only_the_kinds_asked_for_are_drawn() -> None:
    """And a kind that is none is refused with those that are known."""
    drawn = random_scenario(1, 300, 3, kinds=["kill", "pause"])
    assert {timed.fault.kind for timed in drawn.faults} == {"kill", "pause"}
    with pytest.raises(ValueError, match=r"^earthquake: known kinds are bandwidth, "):
        random_scenario(1, 60, 3, kinds=["earthquake"])
