"""Random shards of the coordinator, with workers of a queue that are late, stand still and die.

``scripts/simulate --first 5000000`` runs more of them; ``--disable Q1`` leaves one of the rules out.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.broken import Rule
from tests.simulation.profile import QUEUE_PROFILES, QUEUES_FROM
from tests.simulation.run import simulate

FOUND_BY = {
    Rule.Q1: 0,
    Rule.Q2: 0,
    Rule.Q3: 0,
    Rule.Q4: 0,
    Rule.Q5: 0,
    Rule.Q6: 0,
    Rule.Q7: 1,
    Rule.Q8: 0,
    Rule.Q9: 41,
    Rule.Q10: 416,
}
"""For each a seed that fails without it; docs/TESTING.md says what breaks."""


def test_workers_get_what_was_promised() -> None:
    """Each record is settled or pending, what was confirmed never comes again, keys keep their order, each
    dead letter is stored once, nothing is early; in the end all is settled."""
    counts: Counter[str] = Counter()
    for seed in range(QUEUES_FROM, QUEUES_FROM + len(QUEUE_PROFILES)):
        result = simulate(seed)
        assert result.failure is None, result.failure
        counts += result.members
    for what in ("receive", "settle", "end", "sent", "redelivered", "late", "failover"):
        assert counts[what] >= 3, counts
    assert counts["confirmed"] > 300, counts


@pytest.mark.parametrize("rule", sorted(FOUND_BY, key=lambda rule: rule.name), ids=lambda rule: rule.name)
def test_the_simulator_finds_a_missing_rule(rule: Rule) -> None:
    """The recorded seed breaks a promise without the rule, and none with it."""
    seed = QUEUES_FROM + FOUND_BY[rule]
    assert simulate(seed, broken=frozenset({rule})).rule is not None
    if FOUND_BY[rule] >= len(QUEUE_PROFILES):  # The others are shown above.
        kept = simulate(seed)
        assert kept.failure is None, kept.failure
