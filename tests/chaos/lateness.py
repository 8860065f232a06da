"""Verdicts on runs that share their machine with other tests."""

from __future__ import annotations

from chaos.checker.check import CheckResult
from chaos.checker.violation import Kind, Violation


def broken(check: CheckResult) -> list[Violation]:
    """What is wrong, but for being late: that is left to ``make chaos``, which knows how busy the machine is.
    That a write is stored in the end is not."""
    served = {(each.topic, each.partition) for each in check.recoveries}
    return [
        violation
        for violation in check.violations
        if violation.kind is not Kind.NO_PROGRESS or (violation.topic, violation.partition) not in served
    ]
