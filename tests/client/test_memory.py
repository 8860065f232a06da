"""The budget of bytes: bounded, in order, and nothing is lost when one that waits goes away."""

from __future__ import annotations

import asyncio

import pytest
from floodmark.errors import TransportError
from floodmark.producer.memory import MemoryBudget


async def test_those_who_wait_are_served_in_order() -> None:
    """A small piece does not overtake a large one that waits, though there is room for it."""
    budget = MemoryBudget(10)
    assert budget.try_take(8)
    order: list[int] = []

    async def take(count: int) -> None:
        await budget.take(count, timeout_s=None)
        order.append(count)

    waiting = [asyncio.create_task(take(count)) for count in (9, 1)]
    await asyncio.sleep(0)
    assert not budget.try_take(1)
    budget.give(8)
    await asyncio.gather(*waiting)
    assert order == [9, 1]
    assert budget.used == 10


async def test_what_is_larger_than_all_goes_alone() -> None:
    """One piece above the limit is let in when nothing else is held, and nothing beside it."""
    budget = MemoryBudget(10)
    assert budget.try_take(50)
    assert not budget.try_take(1)
    budget.give(50)
    assert budget.try_take(1)
    assert not budget.try_take(50)


async def test_time_that_runs_out_is_an_error() -> None:
    """Not sent, and said so; those behind are served."""
    budget = MemoryBudget(10)
    assert budget.try_take(5)
    impatient = asyncio.create_task(budget.take(10, timeout_s=0.01))
    await asyncio.sleep(0)
    behind = asyncio.create_task(budget.take(5, timeout_s=None))
    with pytest.raises(TransportError) as caught:
        await impatient
    assert caught.value.fields["sent"] is False
    await behind
    assert budget.used == 10


@pytest.mark.parametrize("is_admitted", [False, True])
async def test_one_that_is_cancelled_leaves_nothing_behind(is_admitted: bool) -> None:
    """Before its turn, or in the moment when it has come."""
    budget = MemoryBudget(10)
    assert budget.try_take(10)
    waiting = asyncio.create_task(budget.take(4, timeout_s=None))
    await asyncio.sleep(0)
    if is_admitted:
        budget.give(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not is_admitted:
        budget.give(10)
    assert budget.used == 0
