"""Large correct histories are clean, one wrong thing is found, and the work grows with the length."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from chaos.checker.check import CheckResult
from chaos.checker.violation import Kind
from tests.chaos.random_run import RandomRun
from tests.chaos.story import kinds, replica

SEED = int(os.environ.get("FLOODMARK_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture(autouse=True)
def show_seed() -> None:
    """Shown with whatever fails."""
    sys.stdout.write(f"replay with FLOODMARK_SEED={SEED}\n")


def lines_executed(work: Callable[[], CheckResult]) -> tuple[CheckResult, int]:
    """How many lines of the checker run: a count that does not depend on the machine."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work(), count
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("number", range(8))
def test_a_correct_run_of_any_kind_is_clean(number: int) -> None:
    """Lost answers, retries, failures, overlaps, seeks and faults are nothing wrong."""
    run = RandomRun(SEED + number, steps=4_000)
    result = run.story.check(*run.final())
    assert kinds(result) == {}, f"FLOODMARK_SEED={SEED + number}: {result.violations[:3]}"
    assert result.figures.records_acknowledged > 1_000


def test_the_work_grows_with_the_length_of_the_history_and_no_faster() -> None:
    """Four times the steps take about four times the executed lines."""
    counts = []
    for steps in (3_000, 12_000):
        run = RandomRun(SEED, steps=steps)
        final = run.final()
        result, count = lines_executed(lambda run=run, final=final: run.story.check(*final))  # type: ignore[misc]
        assert result.is_clean, f"FLOODMARK_SEED={SEED}"
        counts.append(count / (len(run.story.events) + len(run.log)))
    assert counts[1] < counts[0] * 1.25, f"FLOODMARK_SEED={SEED}: lines per event and record {counts}"


@pytest.mark.parametrize("number", range(8))
def test_one_wrong_record_in_a_large_run_is_found(number: int) -> None:
    """Taken away, doubled at the end, or swapped with the one behind: reported, and nothing is overlooked."""
    run = RandomRun(SEED + number, steps=2_000)
    at = random.Random(SEED + number).randrange(len(run.log) - 1)
    tampered = {
        Kind.REPLICAS_DIFFER: ([*run.log[:at], *run.log[at + 1 :]], run.log),
        Kind.DUPLICATE: ([*run.log, run.log[-1]],) * 2,
        Kind.TWO_VALUES_AT_ONE_OFFSET: ([*run.log[:at], run.log[at + 1], run.log[at], *run.log[at + 2 :]],)
        * 2,
    }
    for kind, (one, others) in tampered.items():
        result = run.story.check(replica("n1", one), replica("n2", others), replica("n3", others))
        assert kind in result.counts, f"FLOODMARK_SEED={SEED + number}: {kind} at {at}"
