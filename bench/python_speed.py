"""How fast this Python is: the time of a small loop, in nanoseconds a turn.

Builds of one version differ by a quarter, and their build settings do not tell. Set-up runs this file with
every Python that it finds and takes the fastest; benchmarks print it. It needs the standard library alone.
"""

from __future__ import annotations

import os
import sys
import time

_TURNS = 20_000
_ROUNDS = 15


class _Counter:
    __slots__ = ("seen", "total")

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.total = 0

    def take(self, number: int) -> None:
        slot = number & 255
        self.seen[slot] = self.seen.get(slot, 0) + 1
        self.total += len(self.seen)


def loop_ns() -> float:
    """The fastest of some rounds: calls, attributes, integers and a dict, as the server's code has them."""
    best = float("inf")
    for _ in range(_ROUNDS):
        counter = _Counter()
        begin = time.perf_counter()
        for number in range(_TURNS):
            counter.take(number)
        best = min(best, time.perf_counter() - begin)
    return best / _TURNS * 1e9


if __name__ == "__main__":
    sys.stdout.write(f"{loop_ns():.0f} {os.path.realpath(sys.executable)}\n")
