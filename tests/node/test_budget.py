"""Bounds on bytes under way."""

from __future__ import annotations

import pytest
from floodmark.errors import TooManyRequests

from node.budget import ByteBudget


def test_more_than_the_budget_is_refused_with_a_hint() -> None:
    """What is given back may be taken again."""
    budget = ByteBudget(100, "this test")
    with budget.hold(60):
        with pytest.raises(TooManyRequests, match="this test") as refused:
            budget.take(41)
        assert refused.value.retry_after_s
        with budget.hold(40):
            assert budget.used == 100
    assert budget.used == 0


def test_an_empty_budget_takes_anything_once() -> None:
    """A request above the whole budget is not refused for ever."""
    budget = ByteBudget(10, "this test")
    with budget.hold(50), pytest.raises(TooManyRequests):
        budget.take(1)
    assert budget.used == 0
