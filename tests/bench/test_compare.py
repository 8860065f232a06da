"""When this checkout counts as slower than another one."""

from __future__ import annotations

import pytest

from bench.compare.verdict import Ratio, Verdict

STEADY = [100.0, 101.0, 99.0, 100.0, 100.0, 101.0, 99.0, 100.0]


@pytest.mark.parametrize(
    ("here", "again", "is_worse"),
    [
        (1.00, 1.00, False),
        (1.04, 1.00, False),
        (1.07, 1.00, True),
        (1.07, 1.10, False),
        (1.03, 0.90, False),
        (0.80, 1.00, False),
    ],
)
def test_worse_is_what_is_beyond_five_percent_and_the_noise(
    here: float, again: float, is_worse: bool
) -> None:
    """Whichever of the two runs of one checkout was the dearer one."""
    verdict = Verdict.of("case", STEADY, [each * here for each in STEADY], [each * again for each in STEADY])
    assert verdict.is_worse is is_worse
    assert verdict.line().endswith("worse") is is_worse


def test_one_turn_that_was_held_up_decides_nothing() -> None:
    """The median does."""
    held_up = [*STEADY[:-1], 900.0]
    assert Ratio.of(held_up, STEADY).middle == 1.0
    assert not Verdict.of("case", STEADY, held_up, STEADY).is_worse


def test_a_turn_too_short_for_the_clock_shows_nothing() -> None:
    """Zero of zero is no ratio."""
    assert Ratio.of([0.0, 5.0], [0.0, 0.0]) == Ratio(1.0, 1.0, 1.0)
