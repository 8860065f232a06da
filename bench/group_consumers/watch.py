"""When the records and commits of a running consumer came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_STEADY: Final = 100
_COMMITS_STEADY: Final = 5
_WATCH_MIN_S: Final = 4.0
"""A server's end shows in less."""
_CALM_S: Final = 0.5


class Watch:
    """Clients tell it of each record and each confirmed commit. The longest times without are kept from
    ``begin`` on."""

    def __init__(self, partitions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys = [*range(partitions), "record", "commit"]
        self._last: dict[int | str, float] = {}
        self._longest = dict.fromkeys(self._keys, 0.0)
        self._commits = 0
        self._began: float | None = None
        self.records = 0
        self.assignments = 0
        """Since ``begin``."""

    def record(self, partition: int) -> None:
        """One was handed to the program."""
        self.records += 1
        self._note(partition)
        self._note("record")

    def commit(self) -> None:
        """One was confirmed."""
        self._commits += 1
        self._note("commit")

    def assigned(self) -> None:
        """Partitions were given to the consumer."""
        self.assignments += 1

    def begin(self) -> None:
        """From here on it counts."""
        self._began = self._clock()
        self.assignments = 0

    @property
    def is_steady(self) -> bool:
        """Whether records of all partitions come, and commits are confirmed."""
        return self.records >= _STEADY and self._commits >= _COMMITS_STEADY and self._is_calm()

    @property
    def has_recovered(self) -> bool:
        """Whether, some seconds after ``begin``, everything comes as it did before."""
        return (
            self._began is not None
            and self._clock() - self._began >= _WATCH_MIN_S
            and self._is_calm()
            and all(self._last[key] > self._began for key in self._keys)
        )

    def longest(self) -> dict[str, float]:
        """Seconds without: any record, a record of one partition (the worst one), a confirmed commit."""
        now = self._clock()
        ended = {key: max(self._longest[key], now - self._last[key]) for key in self._keys}
        return {
            "without_record_s": ended["record"],
            "without_partition_s": max(ended[key] for key in self._keys if isinstance(key, int)),
            "without_commit_s": ended["commit"],
        }

    def _is_calm(self) -> bool:
        now = self._clock()
        return all(now - self._last.get(key, float("-inf")) < _CALM_S for key in self._keys)

    def _note(self, key: int | str) -> None:
        now = self._clock()
        if self._began is not None:
            self._longest[key] = max(self._longest[key], now - self._last[key])
        self._last[key] = now
