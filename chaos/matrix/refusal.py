"""What a cluster may do that lost data of a majority: refuse, and say so; never serve what is wrong.

Acknowledged records may be missing from a majority then, since that is what the fault did. Everything else
holds still, and a partition that lost any must not have gone on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from chaos.checker.options import Place
from chaos.checker.violation import Kind
from chaos.verdict import RunResult

_LOSSES: Final = frozenset({Kind.LOST_PREFIX, Kind.LOST_MIDDLE, Kind.LOST_TAIL, Kind.LOST_ALL})
_FOLLOWS: Final = frozenset(
    {Kind.NO_PROGRESS, Kind.REPLICAS_DIFFER, Kind.REPLICA_DAMAGED, Kind.REPLICA_MISSING}
)
"""Of a partition that has no leader: nobody writes to it, and nobody mends its replicas."""
_SAID: Final = ("lost data", "know no leader", "has no leader")
"""What the nodes' readiness tells of it."""


def refusal_faults(result: RunResult) -> list[str]:
    """What is wrong with a run that may refuse; empty when it served, or refused as it should."""
    if result.is_clean:
        return []
    wrong = [f"{node} ended with exit code {code}" for node, code in sorted(result.deaths.items())]
    allowed = _LOSSES | _FOLLOWS
    wrong += [
        f"{kind} ({count})" for kind, count in sorted(result.check.counts.items()) if kind not in allowed
    ]
    lost, stuck = _places(result, _LOSSES), _places(result, {Kind.NO_PROGRESS})
    wrong += [f"{topic}/{number} lost records and took new ones" for topic, number in sorted(lost - stuck)]
    if not any(each in reason for reason in result.unready.values() for each in _SAID):
        wrong.append("it was late, and no node says that it lost data or that nobody leads")
    return wrong


def _places(result: RunResult, kinds: Set[Kind]) -> set[Place]:
    return {
        (violation.topic, violation.partition)
        for violation in result.check.violations
        if violation.kind in kinds and violation.partition is not None
    }
