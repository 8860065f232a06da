"""Queues and dead letters, as nodes describe them."""

from __future__ import annotations

from typing import Literal

import msgspec

from floodmark.queues.shapes import QueueRecord

Ordering = Literal["none", "key"]
QueueStart = Literal["earliest", "latest"]


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue pauses because what its workers call is broken.

    failures    so many of 100 deliveries that ended failed; 0: it never pauses
    deliveries  of at least so many
    window_ms   within so long
    pause_ms    then nothing is delivered for so long; after that one record, to see, and it goes on or
                pauses again
    """

    failures: int = 50
    deliveries: int = 20
    window_ms: int = 30_000
    pause_ms: int = 30_000


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a queue; ``Queues.put`` says what they mean. Times are in milliseconds.

    ``dead_letter_topic`` None: there is none, and what dies is dropped and counted.
    """

    topic: str
    visibility_timeout_ms: int
    max_deliveries: int
    backoff_ms: list[int]
    ordering: Ordering
    max_in_flight: int
    max_in_flight_per_worker: int
    dead_letter_topic: str | None
    start: str
    window: int
    breaker: Breaker


class QueuePartition(msgspec.Struct, frozen=True, kw_only=True):
    """How far a queue is in a partition.

    next       what is below it is settled, or ``unsettled``
    end        the partition's high watermark, as the queue saw it last
    unsettled  records below ``next`` that are in flight, or wait for whatever
    lost       records that retention removed before they were settled
    """

    partition: int
    next: int
    end: int
    unsettled: int
    lost: int


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: its settings, how much there is, and how far it is in each partition.

    depth        records that are not settled, wherever they are
    in_flight    delivered and not settled
    waiting      for redelivery
    held         because an earlier record of their key is not settled
    delayed      until the time that their producers said
    dying        on their way to the dead letters
    dead         listed dead letters
    oldest_ms    when the oldest unsettled record was stored, where that is known
    redelivered, settled, lost  so many since the queue was made
    breaker      closed, open or half_open
    health       why it does not deliver: breaker_open, window_full, delayed_full, dead_letters_unwritable,
                 topic_gone
    """

    queue: str
    config: QueueConfig
    created_ms: int
    depth: int
    in_flight: int
    waiting: int
    held: int
    delayed: int
    dying: int
    dead: int
    oldest_ms: int | None = None
    redelivered: int
    settled: int
    lost: int
    breaker: str
    breaker_until_ms: int = 0
    health: list[str] = []
    partitions: list[QueuePartition] = []


class QueueListing(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in a list."""

    queue: str
    topic: str
    depth: int
    dead: int
    breaker: str


class RecordPlace(msgspec.Struct, frozen=True):
    """Where a record is. ``topic``: None where it was deleted."""

    topic: str | None
    partition: int
    offset: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that died.

    id           its name in this queue
    topic, partition, offset  where the record is that died; the topic is None where it was deleted
    reason       why
    deliveries   how often it had been delivered; ``worker`` had it last
    dead_letter  where it is now
    replaying    it is on its way through the queue again
    """

    id: str
    topic: str | None
    partition: int
    offset: int
    reason: str
    deliveries: int
    worker: str
    first_delivered_ms: int
    died_ms: int
    dead_letter: RecordPlace | None = None
    replaying: bool = False


class DeadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with its record, as it is in the dead letter topic: with headers that say where from."""

    letter: DeadLetter
    record: QueueRecord | None
    """None where retention has removed it, or its topic was deleted."""
