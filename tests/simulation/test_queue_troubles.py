"""Random shards of the coordinator with a queue whose workers call something that breaks, of whose topic
retention takes records before they are settled, and whose dead letters are delivered again.

``scripts/simulate --first 6000000`` runs more of them; ``--disable Q11`` leaves one of the rules out.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.broken import Rule
from tests.simulation.profile import TROUBLED_FROM, TROUBLED_PROFILES
from tests.simulation.run import simulate

FOUND_BY = {
    Rule.Q11: 0,
    Rule.Q12: 2,
    Rule.Q13: 0,
    Rule.Q14: 0,
    Rule.Q15: 0,
    Rule.Q16: 0,
    Rule.Q17: 0,
    Rule.Q18: 0,
    Rule.Q19: 1,
}
"""For each a seed that fails without it; docs/TESTING.md says what breaks."""
LONG = frozenset({Rule.Q18, Rule.Q19})


def test_a_queue_keeps_its_promises_in_trouble() -> None:
    """Each record is settled, pending or lost, and counted as that; each letter is delivered again until it
    is settled; a queue pauses by the share of what fails and goes on; in the end all is settled."""
    counts: Counter[str] = Counter()
    for seed in range(TROUBLED_FROM, TROUBLED_FROM + len(TROUBLED_PROFILES)):
        result = simulate(seed)
        assert result.failure is None, result.failure
        counts += result.members
    for what in (
        "failover",
        "replayed",
        "died again",
        "died of failures",
        "excused",
        "breaker open",
        "breaker closed",
        "lost",
        "lost in hand",
        "lost letters",
        "acknowledged when lost",
    ):
        assert counts[what] >= 3, counts


@pytest.mark.parametrize(
    "rule",
    [pytest.param(rule, id=rule.name, marks=[pytest.mark.long] if rule in LONG else []) for rule in FOUND_BY],
)
def test_the_simulator_finds_a_missing_rule(rule: Rule) -> None:
    """The recorded seed breaks a promise without the rule, and none with it, as is shown above."""
    assert FOUND_BY[rule] < len(TROUBLED_PROFILES)
    assert simulate(TROUBLED_FROM + FOUND_BY[rule], broken=frozenset({rule})).rule is not None
