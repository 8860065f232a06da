"""Reading written frames: one at a time with everything verified, or in bulk by the byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import google_crc32c
from floodmark.frame import HEADER_BYTES, MAGIC, Frame, FrameHeader

from storage.errors import LogCorrupt
from storage.scan import Window, read_frame
from storage.segments import Segment, Segments

_WALK_BYTES: Final = 64 << 10
_HINTS_MAX: Final = 256
_HEADER = struct.Struct("<4sIIIQQQqI")  # The first 52 bytes of a frame header.
_T = TypeVar("_T")


class Reader:
    """Finds and reads frames in segment files. Any number of threads may read at once."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        #: Where a sequential reader goes on: offset -> (segment path, position, index). Hints are checked
        #: against the frame they lead to, as index entries are.
        self._hints: dict[int, tuple[str, int, int]] = {}

    def forget_hints(self) -> None:
        """Called when frames were removed from the end."""
        self._hints.clear()

    def header(self, index: int) -> tuple[Segment, int, FrameHeader]:
        """Where a written frame stands: its segment, the position in its file, its header."""
        segment = self._segments.holding_index(index)
        return self._with_good_index(segment, lambda: self._find_index(segment, index))

    def frames(self, first: int, last: int) -> Iterator[Frame]:
        """Written frames from first to last, both included, checksums verified; about 1 MiB in memory."""
        while first <= last:
            segment, position, _header = self.header(first)
            end = segment.size
            # One frame is asked for most often: then nothing behind it is read.
            window = Window(self._segments.file(segment), end, _WALK_BYTES if first == last else 1 << 20)
            while first <= last and position < end:
                frame = read_frame(window, position, end)
                if isinstance(frame, str):
                    raise self._segments.corrupt(segment, position, first, frame)
                if frame.index != first:
                    detail = f"frame {frame.index} stands where frame {first} should"
                    raise self._segments.corrupt(segment, position, first, detail)
                yield frame
                position += frame.size
                first += 1

    def header_at_offset(self, offset: int) -> FrameHeader:
        """The header of the written frame that holds a record."""
        segment = self._segments.holding_offset(offset)
        return self._with_good_index(segment, lambda: self._find_offset(segment, offset))

    def offset_at_time(self, timestamp_ms: int) -> int | None:
        """First offset of the first written frame with records as late as this; None when there is none."""
        for segment in list(self._segments.all):
            if self._segments.latest(segment)[0] < timestamp_ms:
                continue
            _index, position = self._segments.index(segment).at_time(timestamp_ms)
            for _at, header, latest in self._segments.headers(segment, position, chunk_bytes=_WALK_BYTES):
                if latest >= timestamp_ms and header.record_count:
                    return header.first_offset
        return None

    def read(self, offset: int, *, end_offset: int, max_bytes: int) -> bytes:
        """See ``Log.read``; ``offset`` is that of a written record."""
        segment = self._segments.holding_offset(offset)
        hint = self._hints.get(offset)
        if hint is not None and hint[0] == segment.path:
            try:
                return self._read(segment, hint[1], hint[2], 0, offset, end_offset, max_bytes)
            except LogCorrupt:
                self._hints.clear()  # Perhaps only the hint is wrong: the slower way decides.

        def by_index() -> bytes:
            with self._segments.lock:
                index, position = self._segments.index(segment).at_offset(offset)
            slack = self._segments.options.index_interval_bytes
            return self._read(segment, position, index, slack, offset, end_offset, max_bytes)

        return self._with_good_index(segment, by_index)

    def _read(
        self,
        segment: Segment,
        position: int,
        index: int,
        slack: int,
        offset: int,
        end_offset: int,
        max_bytes: int,
    ) -> bytes:
        """Read from a frame at or before the one that holds ``offset``; normally with a single ``pread``."""
        file, size = self._segments.file(segment), segment.size
        wanted = max(max_bytes, HEADER_BYTES) + slack
        value, unpack, magic_of_frames = google_crc32c.value, _HEADER.unpack_from, MAGIC
        start = -1
        while position < size:
            data = file.pread(min(wanted, size - position), position)
            at, available = 0, len(data)
            frame_end = 0
            while available - at >= HEADER_BYTES:
                magic, crc, length, _, found, _, first, _, count = unpack(data, at)
                if magic != magic_of_frames or found != index or value(data[at + 8 : at + 64]) != crc:
                    raise self._segments.corrupt(segment, position + at, index, "no valid frame header")
                frame_end = at + HEADER_BYTES + length
                if start < 0:
                    if first + count <= offset:
                        at, index = frame_end, index + 1
                        continue
                    if first + count > end_offset:
                        return b""
                    start = at
                elif first + count > end_offset or first >= end_offset or frame_end - start > max_bytes:
                    break
                if frame_end > available:
                    break
                at, index = frame_end, index + 1
                offset = first + count
            if start >= 0 and at > start:
                self._remember(offset, segment.path, position + at, index)
                return data[start:at]
            if start >= 0:
                wanted = max(max_bytes, frame_end - start)  # The first frame is larger than max_bytes.
            elif available - at >= HEADER_BYTES or available == 0:
                break
            position, start = position + at, -1
        raise self._segments.corrupt(segment, position, index, "the frames end before they should")

    def _remember(self, offset: int, path: str, position: int, index: int) -> None:
        if len(self._hints) >= _HINTS_MAX:
            self._hints.clear()
        self._hints[offset] = (path, position, index)

    def _find_index(self, segment: Segment, index: int) -> tuple[Segment, int, FrameHeader]:
        with self._segments.lock:
            expected, position = self._segments.index(segment).at_index(index)
        for at, header, _latest in self._segments.headers(segment, position, chunk_bytes=_WALK_BYTES):
            if header.index != expected:
                break
            if header.index == index:
                return segment, at, header
            position, expected = at + header.size, expected + 1
        raise self._segments.corrupt(segment, position, expected, "no valid frame header")

    def _find_offset(self, segment: Segment, offset: int) -> FrameHeader:
        with self._segments.lock:
            expected, position = self._segments.index(segment).at_offset(offset)
        for at, header, _latest in self._segments.headers(segment, position, chunk_bytes=_WALK_BYTES):
            if header.index != expected:
                break
            if header.first_offset <= offset < header.next_offset:
                return header
            position, expected = at + header.size, expected + 1
        raise self._segments.corrupt(segment, position, expected, "no valid frame header")

    def _with_good_index(self, segment: Segment, find: Callable[[], _T]) -> _T:
        """Run a look-up; when it fails in a sealed segment, rebuild the index and try once more."""
        try:
            return find()
        except LogCorrupt:
            if segment.index is not None:
                raise
            self._segments.rebuild_index(segment)
            return find()
