"""The newest frames, in memory: all that are not written yet, and as many written ones as fit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from floodmark.format.frame import Frame, FrameKind


class Tail:
    """The frames of entries ``first`` to ``last``; empty when ``first`` is ``last + 1``.

    Gaps are kept only until they are written: they are small, few, and met by replicas that catch up.
    """

    __slots__ = ("_bytes", "_bytes_max", "_frames", "_gaps", "first", "get", "last")

    def __init__(self, last: int, bytes_max: int) -> None:
        self._frames: dict[int, Frame] = {}
        self._gaps: list[Frame] = []
        self.get: Callable[[int], Frame | None] = self._frames.get
        """The frame that begins at an index, or None when none does, or it is not kept."""
        self._bytes = 0
        self._bytes_max = bytes_max
        self.first = last + 1
        self.last = last

    @property
    def has_gaps(self) -> bool:
        """Whether any gap is kept."""
        return bool(self._gaps)

    def gap_over(self, index: int) -> Frame | None:
        """The gap that stands for an entry, when it is kept."""
        for gap in self._gaps:
            if gap.index <= index <= gap.last_index:
                return gap
        return None

    def append(self, frame: Frame) -> None:
        """Take in the next frame."""
        self._frames[frame.index] = frame
        self._bytes += frame.size
        if frame.kind is FrameKind.GAP:
            self._gaps.append(frame)
            self.last = frame.last_index
        else:
            self.last = frame.index

    def slice(self, first: int, last: int) -> list[Frame]:
        """The frames of entries first to last, all of them kept, and none but whole ones."""
        return [self._frames[index] for index in self._begins(first, last)]

    def bytes_from(self, first: int, enough: int) -> int:
        """The size of the frames from ``first`` on; counting ends above ``enough``."""
        size = 0
        for index in self._begins(first, self.last):
            size += self._frames[index].size
            if size > enough:
                break
        return size

    def evict(self, written_index: int) -> None:
        """Let go of the oldest written frames above the size that is kept."""
        while self._gaps and self._gaps[0].last_index <= written_index:
            while self.first <= self._gaps[0].last_index:
                self._pop_first()
            del self._gaps[0]
        while self._bytes > self._bytes_max and self.first <= written_index:
            self._pop_first()

    def _pop_first(self) -> None:
        frame = self._frames.pop(self.first)
        self._bytes -= frame.size
        self.first = frame.last_index + 1

    def cut(self, from_index: int) -> None:
        """Forget the frame that begins at ``from_index`` and all after it."""
        for index in list(self._begins(max(from_index, self.first), self.last)):
            self._bytes -= self._frames.pop(index).size
        self._gaps = [gap for gap in self._gaps if gap.index < from_index]
        self.last = min(self.last, from_index - 1)
        self.first = min(self.first, self.last + 1)

    def holding_offset(self, offset: int) -> Frame | None:
        """The frame that holds an offset, when it is kept."""
        indexes = list(self._frames) if self._gaps else range(self.first, self.last + 1)
        at = bisect_right(indexes, offset, key=lambda index: self._frames[index].first_offset) - 1
        if at < 0:
            return None
        frame = self._frames[indexes[at]]
        return frame if frame.first_offset <= offset < frame.next_offset else None

    def _begins(self, first: int, last: int) -> Iterator[int] | range:
        """Where the frames of entries first to last begin."""
        return self._over_gaps(first, last) if self._gaps else range(first, last + 1)

    def _over_gaps(self, index: int, last: int) -> Iterator[int]:
        while index <= last:
            yield index
            index = self._frames[index].last_index + 1
