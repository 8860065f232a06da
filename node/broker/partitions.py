"""One partition of a topic, from a node's point of view: producing to it and fetching from it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from floodmark.errors import StorageUnavailable
from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position, Source
from floodmark.format.record import Record


class Acks(enum.StrEnum):
    """When a produce is answered."""

    QUORUM = "quorum"
    """Durable on a majority: the default, and the promise."""
    LEADER = "leader"
    """Durable on the leader's disk: lost with that disk if the leader fails right after."""
    NONE = "none"
    """Accepted by the leader: lost with its process."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds: offsets log_start_offset <= o < high_watermark can be read."""

    log_start_offset: int
    high_watermark: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to a produce. With acks=none ``first_offset`` is -1. ``duplicate``: it was stored before."""

    first_offset: int
    next_offset: int
    high_watermark: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """Frames as they are on disk (see floodmark.format.frame), and where to go on.

    ``next_offset`` is the offset behind the last frame, or the one asked for when there is none. The
    first frame may begin before the offset asked for: the reader skips.
    """

    frames: bytes
    next_offset: int
    bounds: Bounds


class SourcePosition(msgspec.Struct, frozen=True):
    """How far a group has processed a partition of its source, by what another partition keeps of that.

    ``next_offset``: None before the first batch with a position. ``producer_epoch``: the one that goes on.
    """

    topic_id: int
    partition: int
    next_offset: int | None
    producer_epoch: int


class Unreadable(StorageUnavailable):
    """A replica cannot read its log. It is mended or hands over the leadership: ask the leader again."""


class Partition(Protocol):
    """One partition of a topic, from this node's point of view.

    It belongs to one topic id, never to a topic created later under the same name.
    """

    topic: str
    topic_id: int
    number: int

    @property
    def leader(self) -> str | None:
        """Node id of the leader as far as is known."""

    @property
    def leads_here(self) -> bool:
        """Whether this node is the leader and can serve."""

    async def wait_leader(self, *, deadline_s: float) -> str:
        """The leader's node id, waiting for an election to end. Raises ``Unavailable``."""

    def doubt_leader(self, node: str) -> None:
        """``node`` was asked as the leader and did not serve: look for the leader again."""

    async def produce(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        acks: Acks,
        timeout_s: float,
        expected_offset: int | None = None,
        position: Position | None = None,
        deliver_at_ms: int | None = None,
    ) -> Appended:
        """Append one checked batch; only where ``leads_here``. ``position``: stored with it, if it is.
        ``deliver_at_ms``: likewise, when queues may deliver it.

        Raises FeatureLevelNeeded (of the batch's format, of a position), PositionConflict (next_offset),
        TooManyPositions, Unavailable (not stored), OutcomeUnknown,
        TooManyRequests, TooManyProducers, ProducerFenced
        (current_epoch), OutOfOrderSequence (expected_sequence), SequenceReused (first_offset, next_offset:
        of the records that are stored under it), OffsetMismatch (next_offset), StorageFull.
        """

    def produce_records(
        self, records: Sequence[Record], *, size: int, timeout_s: float
    ) -> Awaitable[Appended]:
        """Append records of ``size`` bytes that came without a batch, with acks=quorum.

        They stay together and in order; records that arrive at the same time may share their batch.
        Only where ``leads_here``; raises as ``produce`` does.
        """

    async def fetch(self, offset: int, *, max_bytes: int, verify: bool = False) -> Fetched:
        """Committed frames from ``offset`` on; empty when there are none yet.

        ``verify``: check payloads' checksums, and return none that fails. Raises OffsetBelowStart,
        OffsetPastEnd (log_start_offset, high_watermark), Unavailable; Unreadable for what is damaged here.
        """

    async def wait_records(self, offset: int, *, wait_s: float) -> bool:
        """Wait until a record is committed at ``offset``; False when the time is up. Raises as ``fetch``."""

    def bounds(self) -> Bounds:
        """The bounds as known here, without asking other nodes."""

    async def tail(self, *, timeout_s: float) -> Bounds:
        """The bounds, with leadership confirmed by a majority after the call began."""

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """A group's, in order, with leadership confirmed by a majority after the call began.

        Like the next three, only where ``leads_here``; they raise ``Unavailable`` and ``FeatureLevelNeeded``.
        """

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """Begin the next producer epoch of a source: none of an earlier one stores a position of it from now
        on. ``producer``: the id of who goes on, which has stored nothing here in that epoch; or empty.

        What is told stays so until somebody in this epoch stores a position. Raises ``TooManyPositions``, and
        ``OutcomeUnknown``, after which it is asked again.
        """

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        """Move a source's position without records: ``producer`` (the key of who goes on in this epoch) has
        made nothing of what is before it. To ask again does no harm.

        Raises as ``produce`` does for a position: ``ProducerFenced``, ``PositionConflict`` where it is before
        what is kept, ``TooManyPositions``; ``OutcomeUnknown``.
        """

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        """Keep nothing of the group any more, if anything is kept. Raises ``OutcomeUnknown`` likewise."""

    async def offset_at_time(self, timestamp_ms: int) -> int:
        """The offset of the first record with at least this timestamp; the high watermark if none."""
