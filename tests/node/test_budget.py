"""Bounds on bytes under way."""

from __future__ import annotations

import contextlib

import pytest
from floodmark.errors import TooManyRequests
from hypothesis import given
from hypothesis import strategies as st

from node.budget import ByteBudget, SharedBudget, share_of


def test_more_than_the_budget_is_refused_with_a_hint() -> None:
    """What is given back may be taken again."""
    budget = ByteBudget(100, "this test")
    budget.take(60)
    with pytest.raises(TooManyRequests, match="this test") as refused:
        budget.take(41)
    assert refused.value.retry_after_s
    budget.give(60)
    budget.take(100)
    assert budget.used == 100


def test_an_empty_budget_takes_anything_once() -> None:
    """A request above the whole budget is not refused for ever."""
    budget = ByteBudget(10, "this test")
    budget.take(50)
    with pytest.raises(TooManyRequests):
        budget.take(1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 40)), max_size=60))
def test_no_address_shuts_the_others_out(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is asked: the limit holds, an address with several requests stays below half or its share, and
    what is let go is there again."""
    budget = SharedBudget(100, 25, "this test")
    accounts = {(who, number): budget.account(who) for who in "abc" for number in range(5)}
    for who, number, count in steps:
        if number == 5:
            for key, account in accounts.items():
                if key[0] == who:
                    account.close()
            continue
        account = accounts[who, number]
        of_who = sum(item.held for key, item in accounts.items() if key[0] == who)
        before = budget.used
        with contextlib.suppress(TooManyRequests):
            account.take(count)
            assert budget.used <= 100
            alone = of_who + count == account.held
            assert budget.used <= 50 or of_who + count <= 25 or alone
        assert budget.used == sum(item.held for item in accounts.values())
        assert budget.used in (before, before + count)
    for account in accounts.values():
        account.close()
    assert budget.used == 0


def test_the_more_there_are_the_less_each_may_have() -> None:
    """As much as leaves another share to whoever comes next; a share of all is none."""
    budget = SharedBudget(1200, 600, "this test")
    greedy = [budget.account("greedy") for _ in range(600)]
    for account in greedy:
        account.take(1)
    for number in range(10):
        who = f"modest {number}"
        budget.account(who).take(40)
        with pytest.raises(TooManyRequests, match=f"each of its {number + 2} clients may have"):
            budget.account(who).take(1200 // (number + 3) + 1 - 40)
    with pytest.raises(TooManyRequests):
        budget.account("greedy").take(1)
    open_to_all = SharedBudget(100, 100, "this test")
    for _ in range(100):
        open_to_all.account("one").take(1)
    assert share_of(1 << 20, most=1 << 20, parties=10_000) == (1 << 20) // 64
