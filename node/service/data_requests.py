"""The data requests of doors and their results: typed, and independent of any protocol.

A door decodes a request into one of these, and turns the result, or the raised error of ``floodmark.errors``,
into its protocol's answer. Everything between is in this room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from floodmark.errors import FloodmarkError
from floodmark.format.position import Position
from floodmark.format.record import Record

from node.broker import Acks, Appended, Bounds
from node.service.cursor import Cursor
from node.service.division import NOBODY, Division, Incoming, Packed, Producer, needs_batch_format_2


class Allowed(NamedTuple):
    """What decides about records besides their body: the limits of their topic and of the feature level, the
    time.

    ``now_ms``: the time of records that give none. ``as_said``: add nothing of the request's (a trace).
    """

    now_ms: int
    record_bytes_max: int
    batch_format: int
    as_said: bool = False


class Body(Protocol):
    """Records as they came through a door, which decodes them once it is known what is allowed."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def batch(self) -> bytes | None:
        """The record batch to store unchanged, if the body is one; unchecked."""

    @property
    def is_heavy(self) -> bool:
        """Whether decoding it would block the event loop for too long. Never for a record batch."""

    @property
    def are_copies(self) -> bool:
        """Whether the records were read from a topic: partitions that they name are where they came from."""

    def read(self, allowed: Allowed) -> list[Incoming]:
        """The records, each checked; only for a body that is neither heavy nor a batch.

        Raises ``InvalidRequest``, ``TooLarge``, ``FeatureLevelNeeded``.
        """

    def pack(self, allowed: Allowed, division: Division, *, timeout_s: float) -> Awaitable[Packed]:
        """As ``read``, divided and packed, off the event loop if need be. A batch is only checked.

        Also raises ``TooManyRequests`` and ``Unavailable`` when there is no capacity for it.
        """


class Records:
    """A body of few, already decoded records. Those without a time get that of their arrival."""

    batch: Final = None
    is_heavy: Final = False
    are_copies: Final = False

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self.size = sum(record.size for record in records)

    def read(self, allowed: Allowed) -> list[Incoming]:
        """See ``Body``."""
        found = []
        for record in self._records:
            record.check(allowed.record_bytes_max)
            timed = record
            if record.timestamp is None:
                timed = msgspec.structs.replace(record, timestamp=allowed.now_ms)
            if allowed.batch_format == 1 and (what := timed.beyond_format_1()) is not None:
                raise needs_batch_format_2(what)
            found.append(Incoming(timed, None))
        return found

    def pack(self, allowed: Allowed, division: Division, *, timeout_s: float) -> Awaitable[Packed]:
        """Never called: it is not heavy."""
        raise NotImplementedError


class ProduceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Store the body's records, all or none of each partition's share, in their order.

    ``partition``: None lets keys choose. ``topic_id``: the only topic that the request is for.
    ``expected_offset``: append only if this is the partition's next offset. ``producer``: the idempotent
    producer. ``position``: what the records were made from, stored with them. ``deliver_at_ms``: when queues
    may deliver them. ``here_only``: another node forwarded it, and looks for the next leader itself.
    """

    topic: str
    partition: int | None
    body: Body
    timeout_s: float
    topic_id: int | None = None
    acks: Acks = Acks.QUORUM
    expected_offset: int | None = None
    producer: Producer = NOBODY
    position: Position | None = None
    deliver_at_ms: int | None = None
    here_only: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether its records may share a batch with those of others."""
        return (
            self.acks is Acks.QUORUM
            and self.expected_offset is None
            and self.position is None
            and self.deliver_at_ms is None
            and self.producer is NOBODY
            and self.body.batch is None
        )


class Produced(NamedTuple):
    """Where a request's records are stored, in one partition, and which node leads it."""

    appended: Appended
    leader: str


Outcome = Appended | FloodmarkError


class Shared(NamedTuple):
    """A request's records by key: the partition of each, in the order sent, and what became of its share."""

    topic_id: int
    places: Sequence[int]
    outcomes: Mapping[int, Outcome]


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Committed frames of one partition from ``position`` (see ``positions.py``) on, at least one if any.

    ``wait_s``: how long to wait for the first one. ``verify``: check payloads' checksums, and return none
    that fails.
    """

    topic: str
    partition: int
    position: str
    max_bytes: int
    topic_id: int | None = None
    wait_s: float = 0.0
    verify: bool = False
    here_only: bool = False


class FetchResult(NamedTuple):
    """Frames as they are on disk, and where to go on. The first may begin before ``start``."""

    topic_id: int
    start: int
    frames: bytes
    next_offset: int
    bounds: Bounds
    leader: str


class ReadTopicRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All partitions' records from ``begin`` on: a cursor, or a position that all partitions have."""

    topic: str
    begin: Cursor | str
    topic_id: int | None = None


class WaitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Wait until a partition has a record behind its offset in the cursor, for ``wait_s`` at most."""

    topic: str
    behind: Cursor
    wait_s: float
    topic_id: int | None = None
    here_only: bool = False


class TopicNews(NamedTuple):
    """Numbers of partitions, in order."""

    topic_id: int
    ready: list[int]


class ListOffsetsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The offset that ``position`` denotes. None: the end, with leadership confirmed by a majority."""

    topic: str
    partition: int
    position: str | None
    timeout_s: float
    topic_id: int | None = None
    here_only: bool = False


class Offsets(NamedTuple):
    """An offset, and the bounds as its leader had them at that moment."""

    topic_id: int
    offset: int
    bounds: Bounds
    leader: str
