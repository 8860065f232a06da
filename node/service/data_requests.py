"""What doors ask of the service, and what it answers: typed, and of no protocol.

A door decodes what came into one of these, and turns the result, or the error of ``floodmark.errors`` that
was raised, into its protocol's answer. Everything between is in this room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from floodmark.errors import FloodmarkError
from floodmark.format.record import Record

from node.broker import Acks, Appended, Bounds
from node.service.cursor import Cursor
from node.service.division import NOBODY, Division, Incoming, Packed, Producer, needs_batch_format_2


class Allowed(NamedTuple):
    """What decides about records besides their body: what their topic and the feature level allow, and when.

    ``now_ms``: the time of records that say none. ``as_said``: nothing of the request's (a trace) is added.
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
        """A record batch that is to be stored as it is, if it is one; nothing in it has been checked."""

    @property
    def is_heavy(self) -> bool:
        """Whether to decode it would hold the event loop up. Never for a record batch."""

    @property
    def are_copies(self) -> bool:
        """They were read, and tell which partition they were read from: they ask for none."""

    def read(self, allowed: Allowed) -> list[Incoming]:
        """The records, each checked; only of what is neither heavy nor a batch.

        Raises ``InvalidRequest``, ``TooLarge``, ``FeatureLevelNeeded``.
        """

    def pack(self, allowed: Allowed, division: Division, *, timeout_s: float) -> Awaitable[Packed]:
        """As ``read``, divided and packed where it holds nobody up. A batch is checked only.

        Raises besides ``TooManyRequests``, ``Unavailable``: nobody had the time for it.
        """


class Records:
    """The body of a door that has few records in hand. Those without a time get that of their arrival."""

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

    ``partition``: None has keys choose. ``topic_id``: the topic that the request belongs to; no other is
    meant. ``expected_offset``: append only if this is the partition's next offset. ``producer``: in whose
    name. ``here_only``: another node passed it on, and looks for the next leader itself.
    """

    topic: str
    partition: int | None
    body: Body
    timeout_s: float
    topic_id: int | None = None
    acks: Acks = Acks.QUORUM
    expected_offset: int | None = None
    producer: Producer = NOBODY
    here_only: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether its records may share a batch with those of others."""
        return (
            self.acks is Acks.QUORUM
            and self.expected_offset is None
            and self.producer is NOBODY
            and self.body.batch is None
        )


class Produced(NamedTuple):
    """Where a request's records are, in one partition, and who leads there."""

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

    ``wait_s``: how long to wait for the first where there is none. ``verify``: payloads that fail their
    checksums are not handed out.
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
    """Frames as they lie on disk, and where to go on. The first may begin before ``start``."""

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
    """The offset that ``position`` means. None: the end, with leadership confirmed by a majority."""

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
