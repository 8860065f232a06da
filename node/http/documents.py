"""The shapes of this door's answers besides the service's results.

Answers with records are written without these types, for speed; tests compare the two.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from node.service.queue_dead import DeadLetterListing
from node.service.queue_settling import EndedDelivery

_Text = str | msgspec.UnsetType


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused (RFC 9457); some have more members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retriable: bool
    request_id: str


class Alive(msgspec.Struct, frozen=True):
    """This process answers."""

    status: str
    node_id: str | msgspec.UnsetType = msgspec.UNSET


class Ready(msgspec.Struct, frozen=True):
    """Whether a node can serve, and why not."""

    ready: bool
    reasons: list[str] | msgspec.UnsetType = msgspec.UNSET
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


class WhoAmI(msgspec.Struct, frozen=True):
    """Who the client is to this node."""

    principal: str
    credential: str
    """How that is known: ``token`` and its id, ``certificate``; empty where nobody is asked."""
    administrator: bool
    authentication: Literal["off", "required"]


class PartitionBounds(msgspec.Struct, frozen=True):
    """What a partition holds, confirmed by a majority."""

    partition: int
    log_start_offset: int
    high_watermark: int
    next_offset: int


class Produced(msgspec.Struct, frozen=True):
    """Where a batch is stored. With acks=none the offsets are -1."""

    partition: int
    first_offset: int
    next_offset: int
    high_watermark: int
    duplicate: bool | msgspec.UnsetType = msgspec.UNSET
    """It was stored before."""


class ProducedRecord(msgspec.Struct, frozen=True):
    """Where a record is stored, or why it is not."""

    partition: int
    offset: int | msgspec.UnsetType = msgspec.UNSET
    error: Problem | msgspec.UnsetType = msgspec.UNSET


class ProducedRecords(msgspec.Struct, frozen=True):
    """One for each record, in the order sent."""

    records: list[ProducedRecord]


class ReadyPartitions(msgspec.Struct, frozen=True):
    """Partitions that have records behind a cursor."""

    ready: list[int]


class ReadRecord(msgspec.Struct, frozen=True):
    """A record: its value is JSON (``value``), bytes (``value_b64``), or none at all (``tombstone``)."""

    partition: int
    offset: int
    timestamp: str | None
    append_time: str
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    key_b64: _Text = msgspec.UNSET
    value: Any = msgspec.UNSET
    value_b64: _Text = msgspec.UNSET
    tombstone: bool | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    headers_list: list[tuple[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class PartitionPage(msgspec.Struct, frozen=True):
    """Records of a partition, and where to go on."""

    records: list[ReadRecord]
    next_offset: int
    high_watermark: int
    log_start_offset: int


class TopicPage(msgspec.Struct, frozen=True):
    """Records of a topic, and where to go on."""

    records: list[ReadRecord]
    cursor: str
    left_out: list[int] | msgspec.UnsetType = msgspec.UNSET
    """Partitions that cannot be read at the moment."""


class QueueRecord(msgspec.Struct, frozen=True):
    """A record that a queue delivers, and the receipt of this delivery. ``visible_ms``: how long the worker
    has. ``topic``: the queue's, or that of its dead letters where one is delivered again."""

    receipt: str
    deliveries: int
    visible_ms: int
    topic: str
    partition: int
    offset: int
    timestamp: str | None
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    key_b64: _Text = msgspec.UNSET
    value: Any = msgspec.UNSET
    value_b64: _Text = msgspec.UNSET
    tombstone: bool | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    headers_list: list[tuple[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class QueuePage(msgspec.Struct, frozen=True):
    """Records for a worker. ``settled``: what came of the request's receipts, in their order."""

    records: list[QueueRecord]
    settled: list[EndedDelivery] | msgspec.UnsetType = msgspec.UNSET
    paused: _Text = msgspec.UNSET
    """Why there is nothing: breaker_open, window_full, in_flight_full, delayed_full, topic_gone."""


class DeadLetterPage(DeadLetterListing, frozen=True, kw_only=True):
    """A dead letter with its record in the dead letter topic; null where retention has removed it."""

    record: ReadRecord | None


class GroupRecord(ReadRecord, frozen=True, kw_only=True):
    """A record that a group read, with its topic."""

    topic: str


class LostRecords(msgspec.Struct, frozen=True):
    """So many records that retention removed before the group read them."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: int


class GroupPage(msgspec.Struct, frozen=True):
    """Records for a member of a group; ``commit`` says with the next call that they are done with.

    It is null once the member has left.
    """

    records: list[GroupRecord]
    commit: str | None
    lost: list[LostRecords] | msgspec.UnsetType = msgspec.UNSET
