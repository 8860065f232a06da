"""The newest frames, in memory: all that are not written yet, and as many written ones as fit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from floodmark.frame import Frame


class Tail:
    """Frames ``first`` to ``last`` without a gap; empty when ``first`` is ``last + 1``."""

    __slots__ = ("_bytes", "_bytes_max", "_frames", "first", "get", "last")

    def __init__(self, last: int, bytes_max: int) -> None:
        self._frames: dict[int, Frame] = {}
        self.get: Callable[[int], Frame | None] = self._frames.get
        """The frame with an index, or None when it is not kept."""
        self._bytes = 0
        self._bytes_max = bytes_max
        self.first = last + 1
        self.last = last

    def append(self, frame: Frame) -> None:
        """Take in the next frame."""
        self._frames[frame.index] = frame
        self._bytes += frame.size
        self.last = frame.index

    def slice(self, first: int, last: int) -> list[Frame]:
        """Frames first to last, both included, all of them kept."""
        return [self._frames[index] for index in range(first, last + 1)]

    def bytes_from(self, first: int, enough: int) -> int:
        """The size of the frames from ``first`` on; counting ends above ``enough``."""
        size = 0
        for index in range(first, self.last + 1):
            size += self._frames[index].size
            if size > enough:
                break
        return size

    def evict(self, written_index: int) -> None:
        """Let go of the oldest written frames above the size that is kept."""
        while self._bytes > self._bytes_max and self.first <= written_index:
            self._bytes -= self._frames.pop(self.first).size
            self.first += 1

    def cut(self, from_index: int) -> None:
        """Forget ``from_index`` and all after it."""
        for index in range(max(from_index, self.first), self.last + 1):
            self._bytes -= self._frames.pop(index).size
        self.last = min(self.last, from_index - 1)
        self.first = min(self.first, self.last + 1)

    def holding_offset(self, offset: int) -> Frame | None:
        """The frame that holds an offset, when it is kept."""
        indexes = range(self.first, self.last + 1)
        at = bisect_right(indexes, offset, key=lambda index: self._frames[index].first_offset) - 1
        if at < 0:
            return None
        frame = self._frames[indexes[at]]
        return frame if frame.first_offset <= offset < frame.next_offset else None
