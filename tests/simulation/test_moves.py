"""Random clusters whose replicas move, whose dead members are replaced, and whose disks are lost meanwhile.

``scripts/simulate --first 2000000`` runs more of them; ``--disable M5`` leaves one of the rules of moves out.
"""

from __future__ import annotations

import pytest

from tests.simulation.broken import Rule
from tests.simulation.profile import MOVE_PROFILES, MOVES_FROM
from tests.simulation.run import simulate

BLOCKS = 2
FOUND_BY = {
    Rule.M1: 0,
    Rule.M2: 0,
    Rule.M3: 11,
    Rule.M4: 0,
    Rule.M5: 0,
    Rule.M6: 0,
    Rule.M7: 12,
    Rule.M8: 15,
}
"""For each a seed that fails without it; docs/TESTING.md says what breaks."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_replicas_move_and_every_promise_is_kept(block: int) -> None:
    """Nothing acknowledged is lost, no change asks for more than there is, and every move ends."""
    kinds = len(MOVE_PROFILES)
    moves = 0
    for seed in range(MOVES_FROM + block * kinds, MOVES_FROM + (block + 1) * kinds):
        result = simulate(seed)
        assert result.failure is None, result.failure
        assert result.stored > 0, result
        moves += result.moves
    assert moves >= kinds, "they are about moves"


@pytest.mark.parametrize("rule", sorted(FOUND_BY, key=lambda rule: rule.name), ids=lambda rule: rule.name)
def test_the_simulator_finds_a_missing_rule(rule: Rule) -> None:
    """The recorded seed breaks a promise without the rule, and none with it."""
    seed = FOUND_BY[rule]
    assert simulate(MOVES_FROM + seed, broken=frozenset({rule})).rule is not None
    if seed >= BLOCKS * len(MOVE_PROFILES):  # The others are shown above.
        kept = simulate(MOVES_FROM + seed)
        assert kept.failure is None, kept.failure
