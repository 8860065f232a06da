"""Putting good frames in the place of bad ones: the segment is copied with them, and renamed over it.

Nothing else changes: positions, indexes and offsets stay, and sizes too, but where gaps are. A crash at any
moment leaves the old segment or the new one. The old one is kept in quarantine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from floodmark.format.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from floodmark.format.frame import Frame, FrameKind

from storage.atomic_file import TEMPORARY_SUFFIX
from storage.filesystem import File, FileSystem, write_all
from storage.holes import Hole, Misfit, find_holes
from storage.options import LogOptions
from storage.quarantine import keep_copy
from storage.segment_header import SegmentHeader
from storage.segments import Segment

_COPY_BYTES = 1 << 20


def by_index(found: Sequence[Frame], first: int) -> dict[int, Frame]:
    """Frames that a peer sent for those from ``first`` on, by the index from which on each is to be used: the
    first one may be a gap that begins before.
    """
    return {max(frame.index, first): frame for frame in found}


def write_mended(
    fs: FileSystem,
    folder: str,
    options: LogOptions,
    segment: Segment,
    following: SegmentHeader,
    holes: Sequence[Hole],
    frames: Mapping[int, Frame],
) -> str:
    """A whole copy of a sealed segment beside it, durable; returns its path. Quarantine has the old one too.

    Where gaps come into it, or had been in it, it may have another size, and its header says so. Raises
    ``Misfit``, and ``OSError``, after which the copy is gone.
    """
    filled = [(hole, hole.fitted(frames)) for hole in holes]
    path = segment.path + TEMPORARY_SUFFIX
    old = fs.open(segment.path)
    try:
        new = fs.open(path, create=True)
        try:
            header = _copy(old, new, segment, following, filled)
            new.sync()
            _check(new, header, following)
        except BaseException:
            new.close()
            with suppress(OSError):
                fs.unlink(path)
            raise
        new.close()
    finally:
        old.close()
    keep_copy(fs, folder, segment.path.rpartition("/")[2], options)
    return path


def _check(file: File, header: SegmentHeader, following: SegmentHeader) -> None:
    if find_holes(file, header, following) != []:
        raise Misfit("the segment is not whole with them")


def _copy(
    old: File,
    new: File,
    segment: Segment,
    following: SegmentHeader,
    filled: Sequence[tuple[Hole, list[Frame]]],
) -> SegmentHeader:
    """Returns the header of the copy."""
    new.truncate(0)
    begin = end = 0
    for hole, frames in filled:
        end = _copy_range(old, new, begin, hole.position, end)
        for frame in frames:
            end = write_all(new, _packed(old, segment, hole, frame), end)
        begin = hole.end
    size = _copy_range(old, new, begin, segment.size, end)
    header = segment.header
    if size != segment.size or any(frame.kind is FrameKind.GAP for _, frames in filled for frame in frames):
        header = header.rewritten(following, size, generations=0)
        write_all(new, [header.encode()], 0)
    return header


def _packed(old: File, segment: Segment, hole: Hole, frame: Frame) -> list[bytes]:
    if hole.header is not None and frame.kind is hole.header.kind:
        return [old.pread(FRAME_HEADER_BYTES, hole.position), frame.payload]
    # All before its segment was durable when this replica wrote the frame; more is not known any more.
    return [frame.pack_header(segment.header.base_position), frame.payload]


def _copy_range(old: File, new: File, start: int, end: int, to: int) -> int:
    """Copy bytes ``start`` to ``end`` to position ``to``; returns the position behind them."""
    for at in range(start, end, _COPY_BYTES):
        to = write_all(new, [old.pread(min(_COPY_BYTES, end - at), at)], to)
    return to
