"""Dropping old segments: which ones retention wants gone, and taking them from the front."""

from __future__ import annotations

from typing import Final

from storage.segment_header import HEADER_BYTES
from storage.segments import Segment, Segments

FUTURE_MS: Final = 20_000
"""Leaders may differ by some seconds: what is nearer than this does not count as the future."""
_FIRST_BYTES: Final = 4096


def take_oldest(segments: Segments, before_index: int) -> list[Segment]:
    """Take sealed segments that lie wholly below ``before_index`` out of the list; with the lock held."""
    taken = []
    while len(segments.all) > 1 and segments.all[1].base_index <= before_index:
        taken.append(segments.all.pop(0))
        segments.forget(taken[-1])
    segments.count()
    return taken


def remove(segments: Segments, taken: list[Segment]) -> None:
    """Remove the files of segments that ``take_oldest`` took; durable on return."""
    for segment in taken:
        # From the oldest on, and the filesystem keeps the order: no crash may leave a gap.
        segments.remove_index(segment)
        segments.fs.unlink(segment.path)
    if taken:
        segments.fs.sync_folder(segments.folder)


def expired_before(
    segments: Segments, *, now_ms: int, retention_ms: int | None, retention_bytes: int | None
) -> int:
    """The base index of the first segment to keep. The active segment is always kept.

    By time a segment goes when its newest append is older than ``retention_ms`` (the leader's clock, not
    the records' own times: those are the producers', and may lie anywhere). One that lies in the future
    counts as appended when this replica first met it: else a clock that was once wrong would end retention
    until that date comes. By size the oldest go while the rest still has ``retention_bytes``: bytes of files,
    so that what compaction has freed lets the log reach further back.
    """
    everything = segments.all[:]
    total = sum(segment.size for segment in everything)
    for segment in everything[:-1]:
        by_size = retention_bytes is not None and total - segment.size >= retention_bytes
        by_time = retention_ms is not None and _appended(segments, segment, now_ms) < now_ms - retention_ms
        if not (by_size or by_time):
            return segment.base_index
        total -= segment.size
    return everything[-1].base_index


def is_to_roll(segments: Segments, *, now_ms: int, roll_ms: int) -> bool:
    """Whether the active segment holds something, and began longer ago than ``roll_ms``."""
    active = segments.active
    first = next(segments.headers(active, HEADER_BYTES, chunk_bytes=_FIRST_BYTES), None)
    if first is None:
        return False
    began = first[1].append_time
    if began > now_ms + FUTURE_MS:
        began = segments.first_seen(active, now_ms)
    return began < now_ms - roll_ms


def _appended(segments: Segments, segment: Segment, now_ms: int) -> int:
    appended = segments.latest(segment)[1]
    return appended if appended <= now_ms + FUTURE_MS else segments.first_seen(segment, now_ms)
