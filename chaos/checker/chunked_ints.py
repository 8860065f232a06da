"""A compact map of integers to integers: eight bytes per entry where keys are dense, like offsets."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

ABSENT: Final = -1

_BITS: Final = 10
_MASK: Final = (1 << _BITS) - 1
_EMPTY: Final = array("q", [ABSENT]) * (1 << _BITS)


class ChunkedInts:
    """A map of integers to non-negative integers. An outlying key costs one chunk."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: dict[int, array[int]] = {}

    def __getitem__(self, key: int) -> int:
        chunk = self._chunks.get(key >> _BITS)
        return ABSENT if chunk is None else chunk[key & _MASK]

    def __setitem__(self, key: int, value: int) -> None:
        chunk = self._chunks.get(key >> _BITS)
        if chunk is None:
            chunk = self._chunks[key >> _BITS] = _EMPTY[:]
        chunk[key & _MASK] = value

    def items(self) -> Iterator[tuple[int, int]]:
        """All entries, by key."""
        for number in sorted(self._chunks):
            first = number << _BITS
            for at, value in enumerate(self._chunks[number]):
                if value != ABSENT:
                    yield first + at, value
