"""Removing entries from a sealed segment: the segment is copied without them, and renamed over it.

What is removed leaves gaps, which take up its indexes and offsets. Everything else stays byte for byte, and
so do all log positions. A crash at any moment leaves the old segment or the new one.

This is done on one replica by itself: where its segments end, and what is removed of them when, is not part
of what replicas agree on. That each of them may do so rests on two rules. Only what its checkpoint covers is
removed: that is committed, and never comes into question again. And ``keep`` keeps what any state machine
needs to come to the same state without the rest: see ``node/partition/kept_entries.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from floodmark.format.frame import GAP_BYTES, GAP_OFFSETS_MAX, Frame, FrameKind, gap

from storage.atomic_file import TEMPORARY_SUFFIX
from storage.errors import LogCorrupt
from storage.filesystem import File, FileSystem, write_all
from storage.holes import find_holes
from storage.scan import CHUNK_BYTES, Window, read_frame
from storage.segment_header import HEADER_BYTES, SegmentHeader
from storage.segments import Segment

Keep = Callable[[Frame], bool]
"""Whether a frame stays. Gaps are not asked about."""
_BUFFER_BYTES: Final = 1 << 20


def write_compacted(
    fs: FileSystem, segment: Segment, header: SegmentHeader, following: SegmentHeader, keep: Keep
) -> str | None:
    """A compacted copy of a sealed segment beside it, durable; its path, or None where nothing is won.

    Raises ``LogCorrupt`` where a frame cannot be read, and ``OSError``, after which the copy is gone.
    """
    path = f"{segment.path}.compacted{TEMPORARY_SUFFIX}"  # A mended copy may be in the making as well.
    old = fs.open(segment.path)
    try:
        new = fs.open(path, create=True)
        is_taken = False
        try:
            size = _copy(old, new, segment, header, header.size_before(following), keep)
            if size >= header.size_before(following):
                return None
            rewritten = header.rewritten(following, size, generations=1)
            write_all(new, [rewritten.encode()], 0)
            new.sync()
            is_taken = find_holes(new, rewritten, following) == []
            if not is_taken:
                raise _unreadable(segment, HEADER_BYTES, header.base_index, "the copy cannot be read back")
            return path
        finally:
            new.close()
            if not is_taken:
                with suppress(OSError):
                    fs.unlink(path)
    finally:
        old.close()


def _copy(old: File, new: File, segment: Segment, header: SegmentHeader, end: int, keep: Keep) -> int:
    new.truncate(0)
    at, buffers, buffered = HEADER_BYTES, [], 0
    for frame, raw in _thinned(old, segment, header, end, keep):
        buffers += [raw, frame.payload]
        buffered += frame.size
        if buffered >= _BUFFER_BYTES:
            at, buffers, buffered = write_all(new, buffers, at), [], 0
    return write_all(new, buffers, at)


def _thinned(
    old: File, segment: Segment, header: SegmentHeader, end: int, keep: Keep
) -> Iterator[tuple[Frame, bytes]]:
    """Frames and their headers as they are to stand: those that are kept, and gaps for runs of others."""
    run: list[tuple[Frame, bytes]] = []
    for frame, raw in _frames(old, segment, header, end):
        stays = frame.kind is not FrameKind.GAP and keep(frame)
        if run and (stays or not _joins(run, frame)):
            yield from _gap_for(run, header)
            run = []
        if stays:
            yield frame, raw
        else:
            run.append((frame, raw))
    if run:
        yield from _gap_for(run, header)


def _joins(run: list[tuple[Frame, bytes]], frame: Frame) -> bool:
    """Whether one gap can stand for a run and another frame."""
    first = run[0][0]
    return frame.term == first.term and frame.next_offset - first.first_offset <= GAP_OFFSETS_MAX


def _gap_for(run: list[tuple[Frame, bytes]], header: SegmentHeader) -> list[tuple[Frame, bytes]]:
    first, last = run[0][0], run[-1][0]
    if sum(frame.size for frame, _ in run) <= GAP_BYTES:
        return run
    one = gap(
        first.index,
        first.term,
        first.first_offset,
        last.append_time,
        entries=last.last_index - first.index + 1,
        offset_count=last.next_offset - first.first_offset,
    )
    return [(one, one.pack_header(header.base_position))]


def _frames(old: File, segment: Segment, header: SegmentHeader, end: int) -> Iterator[tuple[Frame, bytes]]:
    window, position, index = Window(old, end, CHUNK_BYTES), HEADER_BYTES, header.base_index
    while position < end:
        frame = read_frame(window, position, end)
        if isinstance(frame, str) or frame.index != index:
            raise _unreadable(segment, position, index, frame if isinstance(frame, str) else "another frame")
        data, at = window.at(position, frame.size)
        yield frame, data[at : at + frame.size - len(frame.payload)]
        position, index = position + frame.size, frame.last_index + 1


def _unreadable(segment: Segment, position: int, index: int, detail: str) -> LogCorrupt:
    return LogCorrupt(
        detail, path=segment.path, position=position, first_bad_index=index, last_known_index=index
    )
