"""The part of ``Log`` that compacts sealed segments. Whoever decides what is removed is elsewhere."""

from __future__ import annotations

from typing import NamedTuple

from storage.compacting import Keep, write_compacted
from storage.errors import LogCorrupt, OutOfRange
from storage.log_mending import LogMending
from storage.segment_header import SegmentHeader
from storage.segments import Segment


class Compacted(NamedTuple):
    """A compacted copy of a sealed segment, not in its place yet."""

    segment: Segment
    following: SegmentHeader
    swaps: int
    """Of the segment when it was copied."""
    path: str


class LogCompacting(LogMending):
    """``Log`` fills the attributes."""

    checkpoint_index: int

    def prepare_compacted(self, index: int, keep: Keep) -> Compacted | None:
        """Write what is to be left of the sealed segment that holds a frame beside it; None where nothing is
        won. Reads all of it, for a thread of its own: ``keep`` sees its frames in order, and gaps not.

        Raises ``OutOfRange`` unless the checkpoint covers all of it: only what is committed, and part of the
        stored state, may be removed; ``LogCorrupt`` where it cannot be read; ``OSError``.
        """
        with self._lock:
            segment, following = self._sealed(index)
            swaps, header = segment.swaps, segment.header
        if following.base_index - 1 > self.checkpoint_index:
            raise OutOfRange(f"the checkpoint does not cover all of the segment with frame {index} yet")
        try:
            path = write_compacted(self._fs, segment, header, following, keep)
        except LogCorrupt:
            if segment.swaps == swaps:
                raise
            raise OutOfRange(f"the segment {segment.path} was replaced meanwhile") from None
        return None if path is None else Compacted(segment, following, swaps, path)

    def take_compacted(self, compacted: Compacted) -> None:
        """Put what ``prepare_compacted`` wrote into the segment's place; durable on return.

        Raises ``OutOfRange`` when the segment has gone, or is another one now; ``LogFailed``, ``DiskFull``.
        """
        with self._io:
            self._take(*compacted)
