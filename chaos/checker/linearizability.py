"""Is there an order of operations that explains all answers, with each operation after those that had ended?

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of
configurations ("Testing for linearizability", 2017): a set of operations done, together with the resulting
state, is never explored twice. Operations whose end is not known may take effect at any time, or never.

An operation that only reads is placed as early as possible: any order with it later works with it here too.
So choices exist only among operations that may change something.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Operation(Generic[W]):
    """One operation. ``ended_ns`` is None when its end is not known."""

    began_ns: int
    ended_ns: int | None
    what: W


class Verdict(enum.Enum):
    """The result of the search."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[W]):
    """``order`` is the longest that was found, ``stuck_at`` an operation that cannot follow it."""

    verdict: Verdict
    order: tuple[Operation[W], ...]
    stuck_at: Operation[W] | None
    steps: int


def search(
    operations: Sequence[Operation[W]],
    initial: S,
    step: Callable[[S, W], tuple[bool, S]],
    *,
    only_looks: Callable[[W], bool] = lambda _: False,
    steps_max: int,
) -> Outcome[W]:
    """Search for an order. ``step`` says whether an operation may happen in a state, and the state after it.

    ``only_looks``: whether an operation changes no state, whatever it happens in.
    """
    return _Search(operations, initial, step, only_looks, steps_max).run()


class _Entry:
    """A node in the list of beginnings and ends by time; ``end`` is None if there is none."""

    __slots__ = ("end", "is_begin", "next", "number", "previous")

    def __init__(self, number: int, *, is_begin: bool) -> None:
        self.number = number
        self.is_begin = is_begin
        self.end: _Entry | None = None
        self.previous: _Entry | None = None
        self.next: _Entry | None = None

    def unlink(self) -> None:
        assert self.previous is not None
        self.previous.next = self.next
        if self.next is not None:
            self.next.previous = self.previous

    def relink(self) -> None:
        assert self.previous is not None
        self.previous.next = self
        if self.next is not None:
            self.next.previous = self


class _Search(Generic[W, S]):
    def __init__(
        self,
        operations: Sequence[Operation[W]],
        initial: S,
        step: Callable[[S, W], tuple[bool, S]],
        only_looks: Callable[[W], bool],
        steps_max: int,
    ) -> None:
        self.operations = operations
        self.state = initial
        self.step = step
        self.steps_max = steps_max
        self.head = _entries(operations)
        self.looks = [only_looks(operation.what) for operation in operations]
        self.open = sum(operation.ended_ns is not None for operation in operations)
        self.done = 0
        self.path: list[tuple[_Entry, S]] = []
        self.visited: set[tuple[int, S]] = set()
        self.longest: tuple[int, ...] = ()
        self.stuck: int | None = None

    def run(self) -> Outcome[W]:
        steps = 0
        entry, changing = self.head.next, False
        while self.open:
            steps += 1
            if steps > self.steps_max:
                return self._outcome(Verdict.GIVEN_UP, steps)
            if entry is not None and entry.is_begin:
                if self.looks[entry.number] is not changing and self._take(entry):
                    entry, changing = self.head.next, False
                else:
                    entry = entry.next
                continue
            if not changing:
                entry, changing = self.head.next, True
                continue
            # Every possible next operation was tried: the one that ended here, or the path to here, is wrong.
            if entry is not None and len(self.path) >= len(self.longest):
                self.longest, self.stuck = tuple(e.number for e, _ in self.path), entry.number
            back = self._last_choice()
            if back is None:
                return self._outcome(Verdict.NOT_LINEARIZABLE, steps)
            entry = back.next
        self.longest, self.stuck = tuple(e.number for e, _ in self.path), None
        return self._outcome(Verdict.LINEARIZABLE, steps)

    def _take(self, entry: _Entry) -> bool:
        """Let an operation happen next, if it may and if that leads to a new configuration."""
        operation = self.operations[entry.number]
        may, state = self.step(self.state, operation.what)
        if not may or (operation.ended_ns is None and state == self.state):
            return False
        configuration = (self.done | 1 << entry.number, state)
        if configuration in self.visited:
            return False
        self.visited.add(configuration)
        self.path.append((entry, self.state))
        self.state, self.done = state, configuration[0]
        entry.unlink()
        if entry.end is not None:
            entry.end.unlink()
            self.open -= 1
        return True

    def _last_choice(self) -> _Entry | None:
        """Go back to before the last operation that could change something; None if there was none."""
        while self.path:
            entry = self._take_back()
            if not self.looks[entry.number]:
                return entry
        return None

    def _take_back(self) -> _Entry:
        entry, self.state = self.path.pop()
        self.done &= ~(1 << entry.number)
        if entry.end is not None:
            entry.end.relink()
            self.open += 1
        entry.relink()
        return entry

    def _outcome(self, verdict: Verdict, steps: int) -> Outcome[W]:
        order = tuple(self.operations[number] for number in self.longest)
        stuck = None if self.stuck is None else self.operations[self.stuck]
        return Outcome(verdict, order, stuck, steps)


def _entries(operations: Sequence[Operation[W]]) -> _Entry:
    """The list, after a separate head. At equal times beginnings come first: such operations overlap."""
    moments: list[tuple[int, bool, _Entry]] = []
    for number, operation in enumerate(operations):
        begin = _Entry(number, is_begin=True)
        moments.append((operation.began_ns, False, begin))
        if operation.ended_ns is not None:
            begin.end = _Entry(number, is_begin=False)
            moments.append((operation.ended_ns, True, begin.end))
    moments.sort(key=lambda moment: moment[:2])
    head = last = _Entry(-1, is_begin=False)
    for _, _, entry in moments:
        last.next, entry.previous = entry, last
        last = entry
    return head
