"""Random clusters that lose a majority for good and go on in a new epoch, by the product's own plan.

``scripts/simulate --first 3000000`` runs more of them; ``--disable E1`` leaves one of the rules out.
"""

from __future__ import annotations

import pytest

from tests.simulation.broken import Rule
from tests.simulation.profile import RECOVERIES_FROM, RECOVERY_PROFILES
from tests.simulation.run import simulate

FOUND_BY = {
    Rule.E1: 6,
    Rule.E2: 6,
    Rule.E3: 0,
}
"""For each a seed that fails without it and passes with it; docs/TESTING.md says what breaks."""

STATE_IS_AHEAD = 20119
"""Here a replica is chosen that was being brought in: its state has more than its log."""


def test_nothing_is_lost_but_what_is_said_and_old_nodes_are_refused() -> None:
    """What those who are left can prove to be committed stays, and the cluster goes on."""
    recovered = refused = 0
    seeds = {*range(len(RECOVERY_PROFILES)), *FOUND_BY.values(), STATE_IS_AHEAD}
    for seed in sorted(seeds):
        result = simulate(RECOVERIES_FROM + seed)
        assert result.failure is None, result.failure
        assert result.stored > 0, result
        recovered += result.recovered
        refused += result.refused
    assert recovered >= len(seeds) - 1, "they are about recoveries"
    assert refused > 0, "old nodes come back"


@pytest.mark.parametrize("rule", sorted(FOUND_BY, key=lambda rule: rule.name), ids=lambda rule: rule.name)
def test_the_simulator_finds_a_missing_rule(rule: Rule) -> None:
    """The recorded seed breaks a promise without the rule; with it none, as shown above."""
    seed = RECOVERIES_FROM + FOUND_BY[rule]
    assert simulate(seed, broken=frozenset({rule})).rule is not None
