"""How far groups have processed their sources: the positions that a partition keeps with the records.

They are a part of what the partition's machine makes of the committed log: a batch may carry a position
(``floodmark.format.position``), and commands move positions, begin epochs and remove groups. For every source
of a group the newest is kept, with the producer epoch that may go on. Whoever begins an epoch learns the
position as it is behind everything of earlier epochs, which no leader stores from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from floodmark.format.frame import Frame, FrameFlag
from floodmark.format.position import Source, position_in

from node.broker import SourcePosition

POSITIONS_MAX: Final = 1_000
"""Sources that a partition keeps positions of. They are in every checkpoint of it."""
EPOCH_MAX: Final = (1 << 32) - 1
_ATTRIBUTES: Final = int(FrameFlag.ATTRIBUTES)


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of one source. ``next_offset``: None before the first batch that carries one.

    ``producer``: the key of who goes on in this epoch; empty where that is whoever comes first.
    """

    next_offset: int | None
    epoch: int
    producer: bytes = b""


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """A command: of this source only producers of this epoch or a later one go on; in this epoch only
    ``producer``, if it is not empty.
    """

    group: str
    topic_id: int
    partition: int
    epoch: int
    producer: bytes = b""

    @property
    def source(self) -> Source:
        """Of what."""
        return Source(self.group, self.topic_id, self.partition)


class Moved(msgspec.Struct, frozen=True, array_like=True):
    """A command: this producer, in this epoch, has processed all before ``next_offset`` and made nothing of
    what came last.
    """

    group: str
    topic_id: int
    partition: int
    next_offset: int
    epoch: int
    producer: bytes

    @property
    def source(self) -> Source:
        """Of what."""
        return Source(self.group, self.topic_id, self.partition)


class KeptRow(msgspec.Struct, frozen=True, array_like=True):
    """One source in a checkpoint."""

    source: Source
    kept: Kept


class SourcePositions:
    """Part of a partition's machine: all replicas have the same ones."""

    def __init__(self) -> None:
        self.kept: dict[Source, Kept] = {}

    def note(self, frame: Frame, producer: bytes, epoch: int) -> None:
        """A committed batch of this producer. Raises ``InvalidBatch`` for a position that is none."""
        if frame.flags & _ATTRIBUTES and (position := position_in(frame, frame.payload)) is not None:
            self.kept[position.source] = Kept(position.next_offset, epoch, producer)

    def begin(self, begun: Begun) -> None:
        """A committed command."""
        before = self.kept.get(begun.source)
        next_offset = None if before is None else before.next_offset
        self.kept[begun.source] = Kept(next_offset, begun.epoch, begun.producer)

    def move(self, moved: Moved) -> None:
        """A committed command."""
        self.kept[moved.source] = Kept(moved.next_offset, moved.epoch, moved.producer)

    def remove(self, group: str) -> None:
        """A committed command: nothing is kept of the group any more."""
        for source in [source for source in self.kept if source.group == group]:
            del self.kept[source]

    def of_group(self, group: str) -> list[SourcePosition]:
        """All of a group's, in order of topic and partition."""
        return [shown(source, kept) for source, kept in sorted(self.kept.items()) if source.group == group]

    def rows(self) -> list[KeptRow]:
        """For a checkpoint; in the same order on every replica."""
        return [KeptRow(source, kept) for source, kept in sorted(self.kept.items())]

    def restore(self, rows: Iterable[KeptRow]) -> None:
        """From a checkpoint."""
        self.kept = {row.source: row.kept for row in rows}


def shown(source: Source, kept: Kept) -> SourcePosition:
    """What is told of it."""
    return SourcePosition(source.topic_id, source.partition, kept.next_offset, kept.epoch)
