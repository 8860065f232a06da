"""The part of ``Log`` that mends: finds what is bad in a segment, and takes in what peers send for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from floodmark.format.frame import Frame

from storage.discovery import read_header
from storage.errors import LogCorrupt, OutOfRange
from storage.filesystem import FileSystem
from storage.holes import Hole, find_holes
from storage.log_reading import LogReading
from storage.mending import write_mended
from storage.options import LogOptions
from storage.segment_header import SegmentHeader
from storage.segments import Segment
from storage.writer import Writer


class Wound(NamedTuple):
    """A sealed segment and all its holes."""

    segment: Segment
    following: SegmentHeader
    holes: list[Hole]
    swaps: int
    """Of the segment when they were found."""


class LogMending(LogReading):
    """``Log`` fills the attributes."""

    _fs: FileSystem
    _options: LogOptions
    _io: threading.RLock
    _writer: Writer

    @property
    def path(self) -> str:
        """The replica's folder."""
        return self._path

    @property
    def damage(self) -> LogCorrupt | None:
        """The first bad frame that was passed over when the log was opened, or an index made."""
        return self._segments.damage

    def seal(self, index: int) -> None:
        """Let the segment that holds a frame be none that is written to. Waits for a running write."""
        with self._io:
            self._check_holds(index, index)
            active = self._segments.active
            if self._segments.holding_index(index) is active:
                self._guarded("sealing", self._writer.roll, self.written_index + 1, self._written_next_offset)
                self.durable_index = self.written_index

    def wound(self, index: int) -> Wound:
        """What is bad in the sealed segment that holds a frame: reads all of it, for a thread of its own.

        Raises ``LogCorrupt`` where the rest of the segment does not tell what stood there; ``OutOfRange``.
        """
        while True:
            with self._lock:
                segment, following = self._sealed(index)
                swaps, header = segment.swaps, segment.header
                file = self._fs.open(segment.path)
            try:
                holes = find_holes(file, header, following)
            finally:
                file.close()
            if holes is not None:
                return Wound(segment, following, holes, swaps)
            if segment.swaps == swaps:
                what = "what stood in it cannot be told any more"
                raise self._segments.corrupt(segment, 0, index, what)

    def prepare_mended(self, wound: Wound, frames: Mapping[int, Frame]) -> str:
        """Write the segment with these frames in its holes beside it. Raises ``Misfit``, ``OSError``.

        Each frame stands under the index from which on it is used: see ``mending.by_index``.
        """
        segment, following, holes, _swaps = wound
        return write_mended(self._fs, self._path, self._options, segment, following, holes, frames)

    def take_mended(self, wound: Wound, path: str) -> None:
        """Put what ``prepare_mended`` wrote into the segment's place; durable on return.

        Raises ``OutOfRange`` when the segment has gone, or is written to again.
        """
        with self._io:
            self._take(wound.segment, wound.following, wound.swaps, path)

    def _take(self, segment: Segment, following: SegmentHeader, swaps: int, path: str) -> None:
        """Put a file into a segment's place, unless that is not what it was; with ``_io`` held."""
        self._check_open()
        if not self._is_there(segment, following) or segment.swaps != swaps:
            with suppress(OSError):
                self._fs.unlink(path)
            raise OutOfRange(f"the segment {segment.path} was cut, removed or replaced meanwhile")
        self._guarded("replacing a segment of", self._replace, segment, path)

    def _replace(self, segment: Segment, path: str) -> None:
        header, size = read_header(self._fs, path), self._fs.size(path)
        assert header is not None, "it was read back whole"
        # Made again when it is asked for: it may have been made of damaged frames.
        self._segments.remove_index(segment)
        self._fs.rename(path, segment.path)
        self._segments.swap(segment, header, size)
        self._fs.sync_folder(self._path)
        self._reader.forget_hints()

    def _is_there(self, segment: Segment, following: SegmentHeader) -> bool:
        try:
            return self._sealed(segment.base_index) == (segment, following)
        except OutOfRange:
            return False

    def _sealed(self, index: int) -> tuple[Segment, SegmentHeader]:
        with self._lock:
            self._check_holds(index, index)
            segment = self._segments.holding_index(index)
            at = self._segments.all.index(segment)
            if at + 1 == len(self._segments.all):
                raise OutOfRange(f"frame {index} stands in the segment that is written to")
            return segment, self._segments.all[at + 1].header
