"""Putting good frames in the place of bad ones: the segment is copied with them, and renamed over it.

Nothing else changes: positions, sizes, indexes and offsets stay. A crash at any moment leaves the old segment
or the new one. The old one is kept in quarantine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from floodmark.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from floodmark.frame import Frame

from storage.atomic_file import TEMPORARY_SUFFIX
from storage.filesystem import File, FileSystem, write_all
from storage.holes import Hole, find_holes
from storage.options import LogOptions
from storage.quarantine import keep_copy
from storage.segment_header import SegmentHeader
from storage.segments import Segment

_COPY_BYTES = 1 << 20


class Misfit(Exception):
    """What was to be put into a hole does not belong there."""


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

    Raises ``Misfit``, and ``OSError``, after which the copy is gone.
    """
    for hole in holes:
        wrong = hole.misfit([frames[index] for index in range(hole.first, hole.last + 1) if index in frames])
        if wrong is not None:
            raise Misfit(wrong)
    path = segment.path + TEMPORARY_SUFFIX
    old = fs.open(segment.path)
    try:
        new = fs.open(path, create=True)
        try:
            _copy(old, new, segment, holes, frames)
            new.sync()
            _check(new, segment, following)
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


def _check(file: File, segment: Segment, following: SegmentHeader) -> None:
    if find_holes(file, segment.header, following) != []:
        raise Misfit("the segment is not whole with them")


def _copy(old: File, new: File, segment: Segment, holes: Sequence[Hole], frames: Mapping[int, Frame]) -> None:
    new.truncate(0)
    position = 0
    for hole in holes:
        _copy_range(old, new, position, hole.position)
        position = hole.position
        for index in range(hole.first, hole.last + 1):
            position = write_all(new, _packed(old, segment, hole, frames[index]), position)
    _copy_range(old, new, position, segment.size)


def _packed(old: File, segment: Segment, hole: Hole, frame: Frame) -> list[bytes]:
    if hole.header is not None:
        return [old.pread(FRAME_HEADER_BYTES, hole.position), frame.payload]
    # All before its segment was durable when this replica wrote the frame; more nobody knows any more.
    return [frame.pack_header(segment.header.base_position), frame.payload]


def _copy_range(old: File, new: File, start: int, end: int) -> None:
    for at in range(start, end, _COPY_BYTES):
        write_all(new, [old.pread(min(_COPY_BYTES, end - at), at)], at)
