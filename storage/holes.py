"""Frames that cannot be read while those around them can: where they lie, and what must come in their place.

A *hole* is known to the byte: the frames before and behind it are whole, so its indexes, its offsets and its
size are certain. If its own frame's header is whole, so is the checksum of the payload that belongs in it.

Where compaction has been at work, here or at the peers, what fills a hole may be longer or shorter than what
stood there: frames and gaps that cover the very indexes and offsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from floodmark.format.frame import GAP_BYTES, Frame, FrameHeader, FrameKind, part_of_gap, unlike
from floodmark.format.frame import HEADER_BYTES as FRAME_HEADER_BYTES

from storage.errors import LogTooNew
from storage.filesystem import File
from storage.scan import Window, find_headers, header_in, read_frame, walk_headers
from storage.segment_header import HEADER_BYTES, SegmentHeader


class Misfit(Exception):
    """What was to be put into a hole does not belong there."""


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
    is_certain: bool = True
    """Whether the rest of the segment proves where it ends. Else what fills it must have its very size: what
    seems to stand behind it may be the image of a frame in a record."""
    may_hold_gaps: bool = False
    """Whether gaps may have stood in it, so that its size tells nothing."""

    def fitted(self, frames: Mapping[int, Frame]) -> list[Frame]:
        """What of ``frames``, by the index from which on each is to be used, belongs here: of gaps, which may
        begin before and end behind the hole, a part. Raises ``Misfit``.
        """
        index, offset, term = self.first, self.offset, self.terms[0]
        found: list[Frame] = []
        while index <= self.last:
            frame = frames.get(index)
            if frame is None:
                raise Misfit(f"frame {index} is not there, of {self.first} to {self.last}")
            if frame.kind is FrameKind.GAP:
                frame = self._part(frame, index, offset)
            if frame.index != index or frame.last_index > self.last:
                raise Misfit(f"not frames {self.first} to {self.last}")
            if frame.first_offset != offset or not term <= frame.term <= self.terms[1]:
                raise Misfit(f"frame {frame.index} does not go on from the one before it")
            found.append(frame)
            index, offset, term = frame.last_index + 1, frame.next_offset, frame.term
        if offset != self.next_offset:
            raise Misfit(f"they end at offset {offset}, not {self.next_offset}")
        self._check_size(found)
        return found

    def _part(self, gap: Frame, index: int, offset: int) -> Frame:
        if gap.index == index and gap.last_index <= self.last:
            return gap
        last, next_offset = gap.last_index, gap.next_offset
        if last > self.last:
            last, next_offset = self.last, self.next_offset
        if not gap.index <= index <= last or not gap.first_offset <= offset <= next_offset <= gap.next_offset:
            raise Misfit(f"the gap from frame {gap.index} on does not reach over frame {index}")
        return part_of_gap(gap, index, last, offset, next_offset)

    def _check_size(self, frames: Sequence[Frame]) -> None:
        has_gaps = any(frame.kind is FrameKind.GAP for frame in frames)
        is_free = self.may_hold_gaps or (has_gaps and self.is_certain)
        if not is_free and sum(frame.size for frame in frames) != self.end - self.position:
            raise Misfit(f"they have another size than {self.end - self.position} bytes")
        header = self.header
        if header is None:
            return
        if has_gaps:
            same = (header.term, header.next_offset) == (frames[0].term, frames[0].next_offset)
        else:
            same = _identity(frames[0]) == _identity(header)
        if not same:
            raise Misfit(f"frame {self.first} is another one than its header says")


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
    end = header.size_before(following)
    window = Window(file, end)
    position, index, offset, term = HEADER_BYTES, header.base_index, header.base_offset, header.base_term
    holes: list[Hole] = []
    while position < end:
        frame = read_frame(window, position, end)
        if not isinstance(frame, str) and (frame.index, frame.first_offset) == (index, offset):
            position, index = position + frame.size, frame.last_index + 1
            offset, term = frame.next_offset, frame.term
            continue
        hole = _hole_at(file, position, index, offset, term, end, header, following)
        if hole is None:
            return None
        holes.append(hole)
        position, index, offset, term = hole.end, hole.last + 1, hole.next_offset, hole.terms[0]
    return holes if (index, offset) == (following.base_index, following.base_offset) else None


def _hole_at(
    file: File,
    position: int,
    index: int,
    offset: int,
    term: int,
    end: int,
    segment: SegmentHeader,
    following: SegmentHeader,
) -> Hole | None:
    gaps = segment.may_hold_gaps
    header = header_in(file, file.pread(GAP_BYTES, position))
    if header is not None and (header.index, header.first_offset) == (index, offset):
        if position + header.size > end:
            return None
        return Hole(
            position,
            position + header.size,
            index,
            header.last_index,
            header,
            offset,
            header.next_offset,
            (term, max(term, header.term)),
            may_hold_gaps=gaps,
        )
    found = resume(file, position, index, offset, term, end, following.base_index, gaps=gaps)
    if found is not None:
        at, behind, is_certain = found
        return Hole(
            position,
            at,
            index,
            behind.index - 1,
            None,
            offset,
            behind.first_offset,
            (term, behind.term),
            is_certain,
            gaps,
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
        may_hold_gaps=gaps,
    )


def resume(
    file: File,
    position: int,
    index: int,
    offset: int,
    term: int,
    end: int,
    next_index: int | None,
    *,
    gaps: bool = False,
) -> tuple[int, FrameHeader, bool] | None:
    """Where the log goes on behind a damaged header at ``position``: at a whole frame, or one from which
    headers lead to ``end``, that could stand there; and whether they do.

    A record may hold the image of such a frame. Then what peers send does not have the size of the hole, and
    nothing is mended with it. Where ``gaps`` may stand sizes and numbers of frames say nothing: there headers
    must lead to the end. Raises ``LogTooNew`` where a frame of a newer build could stand there.
    """
    for at, header in find_headers(file, position + 1, end):
        room = (at - position) // FRAME_HEADER_BYTES
        fits = header.index > index and (next_index is None or header.index < next_index)
        if not gaps:
            fits = fits and header.index <= index + room
        if not fits or header.first_offset < offset or header.term < term:
            continue
        strange = unlike(header)
        if strange is not None:
            raise LogTooNew(f"frame {header.index} of {file.path}", strange)
        if _leads_to_end(file, at, header, end, next_index):
            return at, header, True
        if not gaps and not isinstance(read_frame(Window(file, end), at, end), str):
            return at, header, False
    return None


def _leads_to_end(file: File, at: int, header: FrameHeader, end: int, next_index: int | None) -> bool:
    expected, reached = header.index, at
    for start, each, _latest in walk_headers(file, at, end):
        if each.index != expected:
            break
        expected, reached = each.last_index + 1, start + each.size
    return reached == end and expected == (expected if next_index is None else next_index)
