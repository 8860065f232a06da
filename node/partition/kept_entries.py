"""Which entries of a segment compaction must leave, so that a partition's machine comes out the same.

The table is built from the committed batches. Building it from a log with gaps must give the same table:
replicas compact independently, and two tables that differ would answer one retry in two ways. Of each segment
these entries stay, unchanged:

- of every idempotent producer the last five batches, all that the table remembers of it, and as many before
  each entry that forgets it: else there would be no producer to forget and count;
- of every source of a group the last batch that carries its position, or command that moves it;
- all other entries of kind COMMAND and MEMBERSHIP, and the ends of transactions;
- the last entry that the table takes in, whose time and index it tells.

Then the table is the same at every index behind the segment. Within it, it may differ. That does no harm:
a leader admits nothing before it has applied an entry of its own, behind everything that is compacted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from floodmark.errors import FloodmarkError
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import has_records, header_in
from floodmark.format.position import Source, position_in

from node.partition.producers import BATCHES_REMEMBERED, Command, command_in, key_of


def entries_to_keep(frames: Iterable[Frame]) -> set[int]:
    """The indexes of the frames of one whole segment that have to stay; ``frames`` may have gaps."""
    kept: set[int] = set()
    recent: dict[bytes, deque[int]] = {}
    positions: dict[Source, int] = {}
    last = 0
    for frame in frames:
        if has_records(frame):
            last = frame.index
            _note(frame, recent, positions, kept)
        elif frame.kind is FrameKind.COMMAND:
            last = frame.index
            command = _command(frame)
            if moved := _only_moved(command):
                positions.update(dict.fromkeys(moved, frame.index))
                continue
            kept.add(frame.index)
            for key in command.forget:
                kept.update(recent.pop(key, ()))
        elif frame.kind not in (FrameKind.NOOP, FrameKind.GAP):
            kept.add(frame.index)
    kept.update(*recent.values(), positions.values(), [last] if last else ())
    return kept


def _note(
    frame: Frame, recent: dict[bytes, deque[int]], positions: dict[Source, int], kept: set[int]
) -> None:
    try:
        header = header_in(frame, frame.payload)
        position = position_in(frame, frame.payload) if header.is_idempotent else None
    except FloodmarkError:
        kept.add(frame.index)
        return
    if position is not None:
        positions[position.source] = frame.index
    if header.is_idempotent:
        recent.setdefault(key_of(header), deque(maxlen=BATCHES_REMEMBERED)).append(frame.index)


def _command(frame: Frame) -> Command:
    """Of one that cannot be read, that it does nothing: it stays."""
    try:
        return command_in(frame)
    except ValueError:
        return Command([])


def _only_moved(command: Command) -> list[Source]:
    """The sources whose positions it moves; none where it does anything else."""
    if command.forget or command.begin or command.remove:
        return []
    return [moved.source for moved in command.move]
