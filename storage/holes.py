"""Frames that can not be read while those around them can: where they lie, and what must come in their place.

A *hole* is known to the byte: the frames before and behind it are whole, so its indexes, its offsets and its
size are certain. If its own frame's header is whole, so is the checksum of the payload that belongs in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from floodmark.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from floodmark.frame import Frame, FrameHeader, unlike

from storage.errors import LogTooNew
from storage.filesystem import File
from storage.scan import Window, find_headers, header_in, read_frame, walk_headers
from storage.segment_header import HEADER_BYTES, SegmentHeader


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes ``position`` to ``end`` of a segment file, where frames ``first`` to ``last`` should stand."""

    position: int
    end: int
    first: int
    last: int
    header: FrameHeader | None
    """Of the only frame, where its payload alone is bad."""
    offset: int
    """That the first of the frames begins at."""
    next_offset: int
    """Behind the last of them."""
    terms: tuple[int, int]
    """Of the frames before and behind: theirs lie between."""

    def misfit(self, frames: Sequence[Frame]) -> str | None:
        """Why these frames can not be the ones that stood here."""
        if [frame.index for frame in frames] != list(range(self.first, self.last + 1)):
            return f"not frames {self.first} to {self.last}"
        if sum(frame.size for frame in frames) != self.end - self.position:
            return f"they have another size than {self.end - self.position} bytes"
        offset, term = self.offset, self.terms[0]
        for frame in frames:
            if frame.first_offset != offset or not term <= frame.term <= self.terms[1]:
                return f"frame {frame.index} does not go on from the one before it"
            offset, term = frame.next_offset, frame.term
        if offset != self.next_offset:
            return f"they end at offset {offset}, not {self.next_offset}"
        if self.header is not None and _identity(frames[0]) != _identity(self.header):
            return f"frame {self.first} is another one than its header says"
        return None


def _identity(frame: Frame | FrameHeader) -> tuple[int, ...]:
    return (
        frame.index,
        frame.term,
        frame.payload_crc,
        frame.first_offset,
        frame.offset_count,
        frame.append_time,
        frame.kind,
        frame.size,
    )


def find_holes(file: File, header: SegmentHeader, following: SegmentHeader) -> list[Hole] | None:
    """All holes of a sealed segment; None when its bytes do not tell where one of them ends.

    Raises ``LogTooNew``: a segment that holds a frame of a newer build is not mended.
    """
    end = following.base_position - header.base_position
    window = Window(file, end)
    position, index, offset, term = HEADER_BYTES, header.base_index, header.base_offset, header.base_term
    holes: list[Hole] = []
    while position < end:
        frame = read_frame(window, position, end)
        if not isinstance(frame, str) and (frame.index, frame.first_offset) == (index, offset):
            position, index, offset, term = position + frame.size, index + 1, frame.next_offset, frame.term
            continue
        hole = _hole_at(file, position, index, offset, term, end, following)
        if hole is None:
            return None
        holes.append(hole)
        position, index, offset, term = hole.end, hole.last + 1, hole.next_offset, hole.terms[0]
    return holes if (index, offset) == (following.base_index, following.base_offset) else None


def _hole_at(
    file: File, position: int, index: int, offset: int, term: int, end: int, following: SegmentHeader
) -> Hole | None:
    header = header_in(file, file.pread(FRAME_HEADER_BYTES, position))
    if header is not None and (header.index, header.first_offset) == (index, offset):
        if position + header.size > end:
            return None
        return Hole(
            position,
            position + header.size,
            index,
            index,
            header,
            offset,
            header.next_offset,
            (term, max(term, header.term)),
        )
    found = resume(file, position, index, offset, term, end, following.base_index)
    if found is not None:
        at, behind = found
        return Hole(
            position, at, index, behind.index - 1, None, offset, behind.first_offset, (term, behind.term)
        )
    if following.base_index <= index or end - position < FRAME_HEADER_BYTES:
        return None
    return Hole(
        position,
        end,
        index,
        following.base_index - 1,
        None,
        offset,
        following.base_offset,
        (term, following.base_term),
    )


def resume(
    file: File, position: int, index: int, offset: int, term: int, end: int, next_index: int
) -> tuple[int, FrameHeader] | None:
    """Where the log goes on behind a damaged header at ``position``: at a whole frame, or one from which
    headers lead to ``end``, that could stand there.

    A record may hold the image of such a frame. Then what peers send does not have the size of the hole, and
    nothing is mended with it. Raises ``LogTooNew`` where a frame of a newer build could stand there.
    """
    for at, header in find_headers(file, position + 1, end):
        room = (at - position) // FRAME_HEADER_BYTES
        fits = index < header.index <= min(index + room, next_index - 1)
        if not fits or header.first_offset < offset or header.term < term:
            continue
        strange = unlike(header)
        if strange is not None:
            raise LogTooNew(f"frame {header.index} of {file.path}", strange)
        if not isinstance(read_frame(Window(file, end), at, end), str):
            return at, header
        expected, reached = header.index, at
        for start, each, _latest in walk_headers(file, at, end):
            if each.index != expected:
                break
            expected, reached = expected + 1, start + each.size
        if reached == end and expected == next_index:
            return at, header
    return None
