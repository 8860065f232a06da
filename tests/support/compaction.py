"""Compacting logs, as a later build will, and telling whether what is left of one is what it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from random import Random

from floodmark.format.frame import Frame, FrameKind

from storage.log import Log


def nothing(_frame: Frame) -> bool:
    """Keeps nothing."""
    return False


def some(rng: Random, share: float) -> Callable[[Frame], bool]:
    """Keeps about this share of the frames, in runs."""
    is_kept = [True]

    def keep(_frame: Frame) -> bool:
        if rng.random() < 0.3:
            is_kept[0] = rng.random() < share
        return is_kept[0]

    return keep


def compact(log: Log, index: int, keep: Callable[[Frame], bool] = nothing) -> bool:
    """Compact the sealed segment that holds an entry; whether that made it smaller."""
    prepared = log.prepare_compacted(index, keep)
    if prepared is None:
        return False
    log.take_compacted(prepared)
    return True


def bases(log: Log) -> list[int]:
    """The first entries of all segments."""
    return [segment.base_index for segment in log._segments.all]


def compactable(log: Log) -> list[int]:
    """The first entries of the segments that may be compacted."""
    segments = log._segments.all
    return [
        segment.base_index
        for segment, following in pairwise(segments)
        if following.base_index - 1 <= log.checkpoint_index
    ]


def problem(held: Iterable[Frame], original: Sequence[Frame]) -> str | None:
    """Why what is held is not what ``original``, which has no gaps, may have become by compaction."""
    position = 0
    for frame in held:
        if position >= len(original):
            return f"frame {frame.index} stands behind the end"
        first = original[position]
        if frame.kind is not FrameKind.GAP:
            if frame != first:
                return f"frame {frame.index} is not the one that was stored"
            position += 1
            continue
        run = original[position : position + frame.last_index - frame.index + 1]
        if (frame.index, frame.first_offset, frame.term, frame.last_index, frame.next_offset) != (
            first.index,
            first.first_offset,
            first.term,
            run[-1].index,
            run[-1].next_offset,
        ):
            return f"gap {frame.index} to {frame.last_index} does not fit what stood there"
        if any(each.term != frame.term for each in run):
            return f"gap {frame.index} spans terms"
        position += len(run)
    return None if position == len(original) else f"it ends before frame {original[position].index}"
