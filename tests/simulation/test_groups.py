"""Random shards of the coordinator, with members of a group that come, go, stand still and die meanwhile.

``scripts/simulate --first 4000000`` runs more of them; ``--disable G1`` leaves one of the rules out.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.broken import Rule
from tests.simulation.profile import GROUP_PROFILES, GROUPS_FROM
from tests.simulation.run import simulate

FOUND_BY = {
    Rule.G1: 0,
    Rule.G2: 57,
    Rule.G3: 0,
    Rule.G4: 0,
    Rule.G5: 0,
    Rule.G6: 0,
    Rule.G7: 1,
}
"""For each a seed that fails without it; docs/TESTING.md says what breaks."""


def test_members_have_what_was_promised() -> None:
    """Offsets do not go back, each partition has one owner, nothing is skipped, and what is handed over in
    order is not repeated; a new leader starts no rebalance; in the end everybody has their share."""
    counts: Counter[str] = Counter()
    for seed in range(GROUPS_FROM, GROUPS_FROM + 2 * len(GROUP_PROFILES)):
        result = simulate(seed)
        assert result.failure is None, result.failure
        counts += result.members
    for what in ("join", "heartbeat", "commit", "leave", "end", "refresh", "reset"):
        assert counts[what] > 0, counts
    assert min(counts["failover"], counts["handed over"]) >= 10, counts


@pytest.mark.parametrize("rule", sorted(FOUND_BY, key=lambda rule: rule.name), ids=lambda rule: rule.name)
def test_the_simulator_finds_a_missing_rule(rule: Rule) -> None:
    """The recorded seed breaks a promise without the rule, and none with it."""
    seed = GROUPS_FROM + FOUND_BY[rule]
    assert simulate(seed, broken=frozenset({rule})).rule is not None
    if FOUND_BY[rule] >= 2 * len(GROUP_PROFILES):  # The others are shown above.
        kept = simulate(seed)
        assert kept.failure is None, kept.failure
