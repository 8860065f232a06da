"""What a cluster whose majority lost its data may do: refuse, and say so, but never serve wrong data.

Acknowledged records may be missing from a majority, since that is what the fault did. Every other promise
still holds, and a partition that lost records must not have gone on as if nothing had happened.
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
"""Violations of a partition without a leader: it is not written to, and its replicas are not repaired."""
_SAID: Final = ("lost data", "know no leader", "has no leader")
"""The words for it in the nodes' readiness."""


def refusal_faults(result: RunResult) -> list[str]:
    """What is wrong with a run that may refuse; empty if it served, or refused as it should."""
    if result.is_clean:
        return []
    wrong = [f"{node} ended with exit code {code}" for node, code in sorted(result.deaths.items())]
    allowed = _LOSSES | _FOLLOWS
    wrong += [
        f"{kind} ({count})" for kind, count in sorted(result.check.counts.items()) if kind not in allowed
    ]
    lost, stuck = _places(result, _LOSSES), _places(result, {Kind.NO_PROGRESS})
    wrong += [
        f"{topic}/{number} lost records and accepted new ones" for topic, number in sorted(lost - stuck)
    ]
    if not any(each in reason for reason in result.unready.values() for each in _SAID):
        wrong.append("it was late, but no node says that it lost data or that there is no leader")
    return wrong


def _places(result: RunResult, kinds: Set[Kind]) -> set[Place]:
    return {
        (violation.topic, violation.partition)
        for violation in result.check.violations
        if violation.kind in kinds and violation.partition is not None
    }
