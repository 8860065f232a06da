"""Dropping old segments: which ones retention wants gone, and taking them from the front."""

from __future__ import annotations

from storage.segments import Segment, Segments


def take_oldest(segments: Segments, before_index: int) -> list[Segment]:
    """Take sealed segments that lie wholly below ``before_index`` out of the list; with the lock held."""
    taken = []
    while len(segments.all) > 1 and segments.all[1].base_index <= before_index:
        taken.append(segments.all.pop(0))
        segments.forget(taken[-1])
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
    the records' own times: those are the producers', and may lie anywhere). By size the oldest go while
    the rest still has ``retention_bytes``.
    """
    everything = segments.all[:]
    total = everything[-1].end_position - everything[0].header.base_position
    for segment in everything[:-1]:
        by_size = retention_bytes is not None and total - segment.size >= retention_bytes
        by_time = retention_ms is not None and segments.latest(segment)[1] < now_ms - retention_ms
        if not (by_size or by_time):
            return segment.base_index
        total -= segment.size
    return everything[-1].base_index
