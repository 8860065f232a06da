"""The memory for answers: shared out, and never all of it to one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from floodmark.errors import TooManyRequests

from node.service.answer_budget import PAGE_BYTES_LEAST, SMALL_BYTES, AnswerBudget

LIMIT = 16 << 20


def test_pages_get_shorter_the_less_is_left() -> None:
    """Down to a short one, which even one address that has far more than its share still gets."""
    budget = AnswerBudget(LIMIT)
    pages = [budget.hold("a").set_page_aside(8 << 20) for _ in range(200)]
    assert pages[0] > 1 << 20
    assert pages == sorted(pages, reverse=True)
    assert pages[-1] == PAGE_BYTES_LEAST
    assert budget.used == sum(pages) <= LIMIT
    assert budget.hold("a").set_page_aside(100) == 100


def test_above_half_an_address_gets_its_share_and_the_others_theirs() -> None:
    """What one has taken it cannot have more of; the next one can."""
    budget = AnswerBudget(LIMIT)
    budget.hold("a").more(LIMIT // 2)
    with pytest.raises(TooManyRequests):
        budget.hold("a").more(SMALL_BYTES + 1)
    budget.hold("b").more(LIMIT // 8)
    with pytest.raises(TooManyRequests):
        budget.hold("b").more(SMALL_BYTES + 1)
    budget.hold("a").more(SMALL_BYTES)


def test_a_quarter_is_for_small_answers_and_they_end_too() -> None:
    """Large ones stop before it; small ones fill it, and then all are refused."""
    budget = AnswerBudget(LIMIT)
    for number in range(6):
        budget.hold(str(number)).more(LIMIT // 8)
    with pytest.raises(TooManyRequests):
        budget.hold("x").more(SMALL_BYTES + 1)
    for _ in range(LIMIT // 4 // SMALL_BYTES):
        budget.hold("x").more(SMALL_BYTES)
    with pytest.raises(TooManyRequests):
        budget.hold("y").more(1)
    assert budget.used == LIMIT


def test_whoever_is_alone_gets_what_one_answer_needs() -> None:
    """Also above the limit, and piece by piece; the next one does not."""
    budget = AnswerBudget(100)
    first = budget.hold("a")
    first.more(90)
    first.more(90)
    with pytest.raises(TooManyRequests):
        budget.hold("b").more(1)
    first.less(170)
    budget.hold("b").more(1)
    first.nothing()
    assert budget.used == 1


def test_what_was_held_in_a_block_is_given_back() -> None:
    """Whatever ends it."""
    budget = AnswerBudget(LIMIT)
    hold = budget.hold("a")
    with suppress(ZeroDivisionError), hold:
        hold.more(5)
        raise ZeroDivisionError
    assert (budget.used, hold.held) == (0, 0)


def test_what_is_set_aside_for_a_page_is_for_all_that_it_takes() -> None:
    """What is read for it first, then its records; what it needs besides is counted on top."""
    budget = AnswerBudget(LIMIT)
    hold = budget.hold("a")
    page = hold.set_page_aside(1 << 20)
    hold.more(page // 2)
    assert hold.held == budget.used == page
    hold.more(page)
    assert hold.held == budget.used == page // 2 + page
    hold.less(page)
    hold.page_is_made()
    assert hold.held == budget.used == page // 2


async def test_who_waits_for_room_is_woken() -> None:
    """By whatever is given back; nobody stays noted."""
    budget = AnswerBudget(LIMIT)
    hold = budget.hold("a")
    hold.more(10)
    waiting = [asyncio.create_task(budget.room()) for _ in range(3)]
    await asyncio.sleep(0)
    hold.less(1)
    await asyncio.gather(*waiting)
    assert not budget._waiting
