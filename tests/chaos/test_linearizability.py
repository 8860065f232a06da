"""The search against one that tries every order, on small histories of a register."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from chaos.checker.linearizability import Operation, Verdict, search

Call = tuple[str, int]


def register(state: int, call: Call) -> tuple[bool, int]:
    """A register that is written and read."""
    what, value = call
    return (True, value) if what == "write" else (state == value, state)


def is_read(call: Call) -> bool:
    """It changes nothing, whatever the state."""
    return call[0] == "read"


def explained(operations: list[Operation[Call]]) -> bool:
    """By trying every subset of the unknown ones, in every order."""
    ended = [operation for operation in operations if operation.ended_ns is not None]
    unknown = [operation for operation in operations if operation.ended_ns is None]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            if any(_is_right(order) for order in itertools.permutations([*ended, *chosen])):
                return True
    return False


def _is_right(order: Iterable[Operation[Call]]) -> bool:
    state, latest_begin = 0, -1
    for operation in order:
        if operation.ended_ns is not None and operation.ended_ns < latest_begin:
            return False
        latest_begin = max(latest_begin, operation.began_ns)
        may, state = register(state, operation.what)
        if not may:
            return False
    return True


def random_operations(chance: random.Random) -> list[Operation[Call]]:
    """A few operations that overlap a lot; about half of such histories can be explained."""
    operations: list[Operation[Call]] = []
    for _ in range(chance.randrange(1, 7)):
        began = chance.randrange(20)
        what = chance.choice(("write", "write", "read"))
        is_unknown = what == "write" and chance.random() < 0.25
        ended = None if is_unknown else began + chance.randrange(1, 12)
        operations.append(Operation(began, ended, (what, chance.randrange(3))))
    return operations


@pytest.mark.parametrize("seed", range(20))
def test_the_search_agrees_with_trying_every_order(seed: int) -> None:
    """On what can be explained and what cannot; both occur."""
    chance = random.Random(seed)
    verdicts = set()
    for number in range(40):
        operations = random_operations(chance)
        found = search(operations, 0, register, only_looks=is_read, steps_max=1_000_000)
        assert search(operations, 0, register, steps_max=1_000_000).verdict is found.verdict
        expected = Verdict.LINEARIZABLE if explained(operations) else Verdict.NOT_LINEARIZABLE
        assert found.verdict is expected, f"seed {seed}, history {number}: {operations}"
        assert _is_right(found.order)
        verdicts.add(found.verdict)
    assert len(verdicts) == 2


def test_many_concurrent_operations_are_searched_once_and_not_in_every_order() -> None:
    """Eight times eight writes at once have 40,320^8 orders, and far fewer configurations."""
    operations: list[Operation[Call]] = []
    for round_ in range(8):
        at = round_ * 100
        operations += [Operation(at, at + 50, ("write", value)) for value in range(8)]
        operations.append(Operation(at + 60, at + 70, ("read", 3)))
    assert search(operations, 0, register, steps_max=200_000).verdict is Verdict.LINEARIZABLE
    operations.append(Operation(900, 910, ("read", 9)))
    found = search(operations, 0, register, steps_max=200_000)
    assert found.verdict is Verdict.NOT_LINEARIZABLE
    assert len(found.order) == 72
    assert found.stuck_at == operations[-1]


def test_what_only_looks_is_nothing_to_choose() -> None:
    """Thirty reads beside six writes at once: to choose who of all comes next would take for ever."""
    operations = [Operation(0, 100, ("write", value)) for value in range(6)]
    operations += [Operation(0, 100, ("read", number % 6)) for number in range(30)]
    operations.append(Operation(200, 210, ("read", 9)))
    found = search(operations, 0, register, only_looks=is_read, steps_max=200_000)
    assert found.verdict is Verdict.NOT_LINEARIZABLE
    assert search(operations, 0, register, steps_max=200_000).verdict is Verdict.GIVEN_UP


def test_a_search_that_takes_too_long_is_given_up_and_says_so() -> None:
    """That is neither the one nor the other verdict."""
    operations = [Operation(0, 100, ("write", value)) for value in range(12)]
    operations.append(Operation(200, 210, ("read", 99)))
    found = search(operations, 0, register, steps_max=100)
    assert (found.verdict, found.steps) == (Verdict.GIVEN_UP, 101)
