"""Locks of groups: who gets them, in which order, and what callers that leave do to them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from node.coordinator.group_locks import GroupLocks


async def _turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_shared_ones_go_together_and_an_exclusive_one_is_not_starved() -> None:
    """First come, first served."""
    locks, order = GroupLocks(), list[str]()

    async def hold(name: str, *, exclusive: bool, until: asyncio.Event) -> None:
        await locks.acquire("g", exclusive=exclusive)
        order.append(name)
        await until.wait()
        locks.release("g")

    first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(hold(name, exclusive=exclusive, until=until))
        for name, exclusive, until in (
            ("s1", False, first),
            ("s2", False, first),
            ("x1", True, second),
            ("s3", False, third),
            ("s4", False, third),
        )
    ]
    await _turns()
    assert order == ["s1", "s2"]
    first.set()
    await _turns()
    assert order == ["s1", "s2", "x1"]
    second.set()
    await _turns()
    assert order == ["s1", "s2", "x1", "s3", "s4"]
    third.set()
    await asyncio.gather(*tasks)
    assert len(locks) == 0


async def test_a_caller_that_leaves_takes_nobody_elses_lock_away() -> None:
    """It learns that it was cancelled only after the lock went and came anew."""
    locks = GroupLocks()
    await locks.acquire("g", exclusive=True)
    leaving = asyncio.create_task(locks.acquire("g", exclusive=True))
    await _turns()
    leaving.cancel()
    locks.release("g")
    await locks.acquire("g", exclusive=True)
    await _turns()
    assert leaving.cancelled()
    assert len(locks) == 1
    locks.release("g")
    assert len(locks) == 0


async def test_random_callers_of_whom_some_leave() -> None:
    """Never two with an exclusive one among them, and nothing is left over."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    locks, holding = GroupLocks(), {name: Counter[bool]() for name in "ab"}

    async def work(name: str, *, exclusive: bool, turns: int) -> None:
        await locks.acquire(name, exclusive=exclusive)
        here = holding[name]
        here[exclusive] += 1
        try:
            assert here[True] == 0 or here.total() == 1, f"seed {seed}"
            await _turns(turns)
        finally:
            here[exclusive] -= 1
            locks.release(name)

    tasks: list[asyncio.Task[None]] = []
    for _ in range(600):
        exclusive = rng.random() < 0.4
        tasks.append(asyncio.create_task(work(rng.choice("ab"), exclusive=exclusive, turns=rng.randrange(4))))
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
        await _turns(rng.randrange(3))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    wrong = [each for each in results if each is not None and not isinstance(each, asyncio.CancelledError)]
    assert not wrong, f"seed {seed}: {wrong[0]!r}"
    assert len(locks) == 0, f"seed {seed}"
