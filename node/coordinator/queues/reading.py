"""A queue's view in the making, from what is stored: in pieces, as there may be millions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from node.coordinator import keys
from node.coordinator.keys import Kind
from node.coordinator.queues.queue import Queue

PIECE: Final = 2_000
"""Done at once: so many records of runs, or 125 pairs with whatever delayed records; some three milliseconds.
"""
_PAIR: Final = 16
"""As many records of a run cost as much as the rest of a pair. Delayed ones are not looked at singly."""


class Reading:
    """``queue`` is the view once ``go_on`` says so. What is stored of the queue must not change until then.

    ``pieces``: how many there were so far.
    """

    def __init__(self, name: str, get: Callable[[bytes], bytes | None], all_keys: Iterable[bytes]) -> None:
        self.queue = Queue(name)
        self.pieces = 0
        self._get = get
        self._keys = iter(all_keys)
        self._left: list[bytes] = []
        """Keys of what is left of delayed records, which comes after these."""
        self._is_last = False

    def go_on(self, *, clock_s: float, piece: int = PIECE) -> bool:
        """Another piece; whether it was the last one. Raises ``TooNew``, ``ValueError``."""
        self.pieces += 1
        done = 0
        while done < piece:
            key = next(self._keys, None)
            if key is None:
                if self._is_last:
                    return True
                self._keys, self._is_last = iter(self._left), True
            elif keys.kind_of(key) == Kind.LEFT and not self._is_last:
                self._left.append(key)
                done += 1
            else:
                done += self._take(key, clock_s)
        return False

    def _take(self, key: bytes, clock_s: float) -> int:
        queue = self.queue
        before = queue.in_runs
        queue.replay(((key, self._get(key)),), clock_s=clock_s)
        return _PAIR + abs(queue.in_runs - before)
