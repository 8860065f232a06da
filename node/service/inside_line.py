"""How a node asks another one to do what it cannot do itself: with typed requests.

Every method raises classes of ``floodmark.errors`` only. ``Unavailable`` says that nothing was stored, so
another node may be asked; ``OutcomeUnknown`` that something may have been.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Protocol

import msgspec
from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position, Source

from node.broker import Acks, Appended, Bounds, Fetched, Partition, SourcePosition
from node.service.answer_budget import Hold
from node.service.inside_requests import InsideRequest, R


class AppendRequest(msgspec.Struct, frozen=True):
    """One checked batch for one partition, perhaps of an idempotent producer, with the request's options.

    ``expected_offset``: append only if this is the partition's next offset. ``position``: stored with it.
    ``deliver_at_ms``: when queues may deliver it.
    """

    batch: bytes
    header: BatchHeader
    acks: Acks
    timeout_s: float
    expected_offset: int | None = None
    position: Position | None = None
    deliver_at_ms: int | None = None


class Found(msgspec.Struct, frozen=True):
    """The result of a read. ``start``: the offset that the requested position denotes."""

    start: int
    fetched: Fetched


class Line(Protocol):
    """Carries typed requests to other nodes, wherever they are."""

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,
        order: Hashable = None,
    ) -> R:
        """Have ``node`` do it; it asks no other node in turn. ``node`` may be this one.

        ``order``: requests that have the same one arrive as they were asked, one after the other, except at
        nodes of builds that take no requests over their links.
        ``hold``: counts the large field of a result before it is received. Raises what the handler there
        raises, and

        - ``Unavailable``: the request did not get there, or there is no answer to one that only reads;
        - ``OutcomeUnknown``: there is no answer to one that stores;
        - ``TooManyRequests``: ``hold`` has no room, or too many requests wait for that node;
        - ``TooNew``: that node's build does not know the request.

        When the caller is cancelled, so is the handler there.
        """


class InsideLine(Line, Protocol):
    """``node`` is a node id; a partition is identified by its topic id there too."""

    async def append(
        self, node: str, partition: Partition, request: AppendRequest, *, timeout_s: float
    ) -> Appended:
        """Append at ``node``, which leads. Raises as ``Partition.produce`` does."""

    async def fetch(
        self, node: str, partition: Partition, position: str, *, max_bytes: int, verify: bool, hold: Hold
    ) -> Found:
        """Frames from ``position`` on at ``node``, which leads; they are in ``hold`` then.

        ``verify``: payloads that fail their checksums are not handed out. Raises as ``Partition.fetch`` does,
        and ``TooManyRequests`` where ``hold`` has no room.
        """

    async def list_offsets(self, node: str, partition: Partition, position: str) -> Found:
        """The offset that ``position`` means at ``node``, which leads, with the bounds and no frames.

        Raises as ``Partition.fetch`` does.
        """

    async def tail(self, node: str, partition: Partition, *, timeout_s: float) -> Bounds:
        """The bounds at ``node``, confirmed by a majority after the call began. Raises ``Unavailable``."""

    async def positions(
        self, node: str, partition: Partition, group: str, *, timeout_s: float
    ) -> list[SourcePosition]:
        """As ``Partition.positions``, at ``node``, which leads."""

    async def begin_epoch(
        self, node: str, partition: Partition, source: Source, producer: bytes, *, timeout_s: float
    ) -> SourcePosition:
        """As ``Partition.begin_epoch``, at ``node``, which leads."""

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
        """As ``Partition.move_position``, at ``node``, which leads."""

    async def remove_positions(
        self, node: str, partition: Partition, group: str, *, timeout_s: float
    ) -> None:
        """As ``Partition.remove_positions``, at ``node``, which leads."""

    async def wait(
        self, node: str, topic: str, topic_id: int, cursor: str, *, wait_s: float
    ) -> Collection[int]:
        """The partitions led by ``node`` that have something behind ``cursor``; empty when the time is up.

        Raises ``Unavailable``, and ``TooManyRequests`` where too many requests wait at other nodes already.
        """
