"""What nodes ask the leaders of partitions, and how they ask: records in, records out, positions, waiting."""

from __future__ import annotations

from collections.abc import Collection, Hashable

import msgspec
from floodmark.errors import FloodmarkError, Unavailable
from floodmark.format.position import Position, Source

from node.broker import Acks, Appended, Bounds, Fetched, Partition, SourcePosition, Unreadable
from node.service.answer_budget import Hold
from node.service.inside_line import AppendRequest, Found, Line
from node.service.inside_requests import InsideRequest, R, register
from node.service.refused_by import by_partition_leader

_READ_S = 2.0
"""How long a read of existing data may take."""


class Frames(msgspec.Struct, frozen=True):
    """``Found`` as sent between nodes."""

    start: int
    next_offset: int
    log_start_offset: int
    high_watermark: int
    frames: bytes = b""


class AppendThere(InsideRequest[Appended], frozen=True):
    """Append a record batch that the asking node has checked. The handler raises as ``Partition.produce``."""

    topic: str
    topic_id: int
    partition: int
    acks: Acks
    expected_offset: int | None = None
    batch: bytes = b""
    position: Position | None = None
    deliver_at_ms: int | None = None


class FetchThere(InsideRequest[Frames], frozen=True):
    """Frames from a position on; at least one batch where there is any.

    ``verify``: check payloads' checksums, and return none that fails.
    """

    topic: str
    topic_id: int
    partition: int
    position: str
    max_bytes: int
    verify: bool = True


class ListOffsetsThere(InsideRequest[Frames], frozen=True):
    """The offset that a position means, with the bounds and no frames."""

    topic: str
    topic_id: int
    partition: int
    position: str


class TailThere(InsideRequest[Bounds], frozen=True):
    """The bounds, with leadership confirmed by a majority after the request came."""

    topic: str
    topic_id: int
    partition: int


class PositionsThere(InsideRequest[list[SourcePosition]], frozen=True):
    """The positions of a group that the partition keeps, with leadership confirmed likewise."""

    topic: str
    topic_id: int
    partition: int
    group: str


class BeginEpochThere(InsideRequest[SourcePosition], frozen=True):
    """Begin the next producer epoch of a source. To ask again does no harm."""

    topic: str
    topic_id: int
    partition: int
    source: Source
    producer: bytes


class MovePositionThere(InsideRequest[None], frozen=True):
    """Move a source's position without records. To ask again does no harm."""

    topic: str
    topic_id: int
    partition: int
    position: Position
    epoch: int
    producer: bytes


class RemovePositionsThere(InsideRequest[None], frozen=True):
    """Keep no positions of a group any more."""

    topic: str
    topic_id: int
    partition: int
    group: str


OfPositions = PositionsThere | BeginEpochThere | MovePositionThere | RemovePositionsThere
"""Those that no node knows in a cluster below the feature level of positions."""
OfPartition = AppendThere | FetchThere | ListOffsetsThere | TailThere | OfPositions
"""Requests that only the leader of one partition can answer."""


class WaitThere(InsideRequest[list[int]], frozen=True):
    """The partitions that have records behind a cursor, as soon as one has; empty when the time is up."""

    topic: str
    topic_id: int
    cursor: str


register("append", AppendThere, Appended, stores=True, raw="batch")
register("fetch", FetchThere, Frames, raw_result="frames")
register("list_offsets", ListOffsetsThere, Frames, raw_result="frames")
register("tail", TailThere, Bounds)
register("positions", PositionsThere, list[SourcePosition])
register("begin_epoch", BeginEpochThere, SourcePosition, stores=True)
register("move_position", MovePositionThere, None, stores=True)
register("remove_positions", RemovePositionsThere, None, stores=True)
register("wait", WaitThere, list[int])


class InsidePartitions:
    """Implements ``InsideLine`` over whatever carries typed requests."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,
        order: Hashable = None,
    ) -> R:
        """See ``Line``."""
        return await self._line.ask(node, request, timeout_s=timeout_s, hold=hold, order=order)

    async def append(
        self, node: str, partition: Partition, request: AppendRequest, *, timeout_s: float
    ) -> Appended:
        """See ``InsideLine``."""
        there = AppendThere(
            partition.topic,
            partition.topic_id,
            partition.number,
            request.acks,
            request.expected_offset,
            request.batch,
            request.position,
            request.deliver_at_ms,
        )
        header = request.header
        # A leader takes a producer's batches in the order of their numbers only.
        order = (there.topic_id, there.partition, header.producer_id) if header.is_idempotent else None
        try:
            return await self._line.ask(node, there, timeout_s=timeout_s, order=order)
        except Unavailable:
            partition.doubt_leader(node)
            raise
        except FloodmarkError as error:
            raise by_partition_leader(error, node)  # noqa: B904 - the same one

    async def fetch(
        self, node: str, partition: Partition, position: str, *, max_bytes: int, verify: bool, hold: Hold
    ) -> Found:
        """See ``InsideLine``."""
        there = FetchThere(partition.topic, partition.topic_id, partition.number, position, max_bytes, verify)
        return _found(await self._read(node, partition, there, hold=hold))

    async def list_offsets(self, node: str, partition: Partition, position: str) -> Found:
        """See ``InsideLine``."""
        there = ListOffsetsThere(partition.topic, partition.topic_id, partition.number, position)
        return _found(await self._read(node, partition, there))

    async def tail(self, node: str, partition: Partition, *, timeout_s: float) -> Bounds:
        """See ``InsideLine``."""
        there = TailThere(partition.topic, partition.topic_id, partition.number)
        return await self._read(node, partition, there, timeout_s=timeout_s)

    async def positions(
        self, node: str, partition: Partition, group: str, *, timeout_s: float
    ) -> list[SourcePosition]:
        """See ``InsideLine``."""
        there = PositionsThere(partition.topic, partition.topic_id, partition.number, group)
        return await self._read(node, partition, there, timeout_s=timeout_s)

    async def begin_epoch(
        self, node: str, partition: Partition, source: Source, producer: bytes, *, timeout_s: float
    ) -> SourcePosition:
        """See ``InsideLine``."""
        there = BeginEpochThere(partition.topic, partition.topic_id, partition.number, source, producer)
        return await self._read(node, partition, there, timeout_s=timeout_s)

    async def move_position(
        self,
        node: str,
        partition: Partition,
        position: Position,
        epoch: int,
        producer: bytes,
        *,
        timeout_s: float,
    ) -> None:
        """See ``InsideLine``."""
        there = MovePositionThere(
            partition.topic, partition.topic_id, partition.number, position, epoch, producer
        )
        await self._read(node, partition, there, timeout_s=timeout_s)

    async def remove_positions(
        self, node: str, partition: Partition, group: str, *, timeout_s: float
    ) -> None:
        """See ``InsideLine``."""
        there = RemovePositionsThere(partition.topic, partition.topic_id, partition.number, group)
        await self._read(node, partition, there, timeout_s=timeout_s)

    async def _read(
        self,
        node: str,
        partition: Partition,
        request: InsideRequest[R],
        *,
        timeout_s: float = _READ_S,
        hold: Hold | None = None,
    ) -> R:
        try:
            return await self._line.ask(node, request, timeout_s=timeout_s, hold=hold)
        except Unavailable as error:
            partition.doubt_leader(node)
            raise Unreadable(error.detail, **error.fields) from error
        except FloodmarkError as error:
            raise by_partition_leader(error, node)  # noqa: B904 - the same one

    async def wait(
        self, node: str, topic: str, topic_id: int, cursor: str, *, wait_s: float
    ) -> Collection[int]:
        """See ``InsideLine``."""
        return await self._line.ask(node, WaitThere(topic, topic_id, cursor), timeout_s=wait_s)


def _found(found: Frames) -> Found:
    bounds = Bounds(found.log_start_offset, found.high_watermark)
    return Found(found.start, Fetched(found.frames, found.next_offset, bounds))
