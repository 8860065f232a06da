"""A partition at its leader, which is this node or another one: what the router has requests ask.

Every method raises classes of ``floodmark.errors`` only. ``Unavailable`` says that nothing was done and that
the next leader may be asked; ``OutcomeUnknown`` that an append may have been.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NotRequired, Protocol, TypedDict, Unpack

from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position, Source

from node.broker import Acks, Appended, Bounds, Fetched, Partition, SourcePosition
from node.service import positions
from node.service.answer_budget import Hold
from node.service.inside_line import AppendRequest, Found, InsideLine


class AppendOptions(TypedDict):
    """How a batch is appended, besides what it holds."""

    acks: Acks
    timeout_s: float
    expected_offset: NotRequired[int | None]
    """Append only if this is the partition's next offset."""
    position: NotRequired[Position | None]
    """Stored with it."""
    deliver_at_ms: NotRequired[int | None]
    """When queues may deliver it."""


class Leader(Protocol):
    """One partition's."""

    partition: Partition

    def append(self, batch: bytes, header: BatchHeader, **how: Unpack[AppendOptions]) -> Awaitable[Appended]:
        """As ``Partition.produce``. Appends of one event loop turn keep their order."""

    def fetch(self, position: str, *, max_bytes: int, verify: bool, hold: Hold) -> Awaitable[Found]:
        """Frames from ``position`` on; they are in ``hold`` then, or ``TooManyRequests`` is raised."""

    async def list_offsets(self, position: str) -> Found:
        """The offset that ``position`` means now, with the bounds and no frames."""

    async def tail(self, *, timeout_s: float) -> Bounds:
        """The bounds, with leadership confirmed by a majority after the call began."""

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """As ``Partition.positions``."""

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """As ``Partition.begin_epoch``."""

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        """As ``Partition.move_position``."""

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        """As ``Partition.remove_positions``."""


class LeaderHere:
    """This node leads."""

    __slots__ = ("partition",)

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    def append(self, batch: bytes, header: BatchHeader, **how: Unpack[AppendOptions]) -> Awaitable[Appended]:
        """See ``Leader``."""
        return self.partition.produce(batch, header, **how)

    async def fetch(self, position: str, *, max_bytes: int, verify: bool, hold: Hold) -> Found:
        """See ``Leader``."""
        partition = self.partition
        start = await positions.resolve(position, partition)
        fetched = await partition.fetch(start, max_bytes=max_bytes, verify=verify)
        hold.more(len(fetched.frames))
        return Found(start, fetched)

    async def list_offsets(self, position: str) -> Found:
        """See ``Leader``."""
        start = await positions.resolve(position, self.partition)
        return Found(start, Fetched(b"", start, self.partition.bounds()))

    async def tail(self, *, timeout_s: float) -> Bounds:
        """See ``Leader``."""
        return await self.partition.tail(timeout_s=timeout_s)

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """See ``Leader``."""
        return await self.partition.positions(group, timeout_s=timeout_s)

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """See ``Leader``."""
        return await self.partition.begin_epoch(source, producer, timeout_s=timeout_s)

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        """See ``Leader``."""
        await self.partition.move_position(position, epoch, producer, timeout_s=timeout_s)

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        """See ``Leader``."""
        await self.partition.remove_positions(group, timeout_s=timeout_s)


class LeaderThere:
    """Another node leads; it is asked by the inside line."""

    __slots__ = ("_inside", "node", "partition")

    def __init__(self, inside: InsideLine, partition: Partition, node: str) -> None:
        self._inside = inside
        self.node = node
        self.partition = partition

    def append(self, batch: bytes, header: BatchHeader, **how: Unpack[AppendOptions]) -> Awaitable[Appended]:
        """See ``Leader``."""
        request = AppendRequest(batch, header, **how)
        return self._inside.append(self.node, self.partition, request, timeout_s=how["timeout_s"])

    def fetch(self, position: str, *, max_bytes: int, verify: bool, hold: Hold) -> Awaitable[Found]:
        """See ``Leader``."""
        return self._inside.fetch(
            self.node, self.partition, position, max_bytes=max_bytes, verify=verify, hold=hold
        )

    async def list_offsets(self, position: str) -> Found:
        """See ``Leader``."""
        return await self._inside.list_offsets(self.node, self.partition, position)

    async def tail(self, *, timeout_s: float) -> Bounds:
        """See ``Leader``."""
        return await self._inside.tail(self.node, self.partition, timeout_s=timeout_s)

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """See ``Leader``."""
        return await self._inside.positions(self.node, self.partition, group, timeout_s=timeout_s)

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """See ``Leader``."""
        return await self._inside.begin_epoch(
            self.node, self.partition, source, producer, timeout_s=timeout_s
        )

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        """See ``Leader``."""
        await self._inside.move_position(
            self.node, self.partition, position, epoch, producer, timeout_s=timeout_s
        )

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        """See ``Leader``."""
        await self._inside.remove_positions(self.node, self.partition, group, timeout_s=timeout_s)
