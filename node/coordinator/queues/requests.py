"""What is asked of a queue, and what it answers. Times are in milliseconds; topics are meant by their ids."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

NO_ORDER = "none"
BY_KEY = "key"
ORDERINGS = (NO_ORDER, BY_KEY)
STARTS = ("earliest", "latest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """When a queue stops because what its workers call is broken: at least ``failures`` of 100 deliveries
    that ended within ``window_ms`` failed, of at least ``deliveries``. It then pauses for ``pause_ms``,
    delivers one record to see, and goes on or pauses again. ``failures`` 0: never.
    """

    failures: int = 50
    deliveries: int = 20
    window_ms: int = 30_000
    pause_ms: int = 30_000


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueConfig:
    """A queue as its user wants it. ``topic_id`` is that of the topic of the name ``topic``.

    ``dead_letter_topic_id`` 0: there is none, and what is dead is dropped, and counted."""

    topic: str
    topic_id: int
    visibility_timeout_ms: int = 30_000
    max_deliveries: int = 5
    backoff_ms: tuple[int, ...] = (1_000, 5_000, 30_000)
    """How long a record waits after its first, second ... failed delivery; the last one for all others."""
    ordering: str = NO_ORDER
    max_in_flight: int = 10_000
    """Records that are delivered and not settled, in all."""
    max_in_flight_per_worker: int = 1_000
    dead_letter_topic: str = ""
    dead_letter_topic_id: int = 0
    start: str = "earliest"
    window: int = 10_000
    """How many records past the oldest unsettled one of a partition are looked at."""
    breaker: Breaker = Breaker()


class Place(NamedTuple):
    """A record: a topic's id (that of the queue's topic, or of its dead letters), a partition, an offset."""

    topic_id: int
    partition: int
    offset: int


class Action(enum.StrEnum):
    """How a delivery ends, or goes on."""

    ACK = "ack"
    NACK = "nack"
    """It failed: again after ``delay_ms``, or the queue's backoff."""
    EXTEND = "extend"
    """The visibility timeout begins again, or with ``delay_ms``."""
    REJECT = "reject"
    """It is dead at once, with a reason."""
    RELEASE = "release"
    """It was not begun: again at once, or after ``delay_ms``. That is no failure, and no delivery either."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of one delivery of one record. ``lease``: the number that the delivery was given."""

    place: Place
    lease: int
    action: Action
    delay_ms: int | None = None
    reason: str = ""


class Settled(enum.StrEnum):
    """What came of a settlement. All but ``LATE`` are what was asked for."""

    DONE = "done"
    ALREADY = "already"
    """It was so before: the same settlement came again."""
    LATE = "late"
    """The delivery is over: its time was up, another one ended it, or it was never that queue's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receive:
    """Up to ``max_records`` records of up to ``max_bytes`` together (one may be larger), once there are any,
    for at most ``wait_s`` seconds. ``settle``: done before, in the same step."""

    worker: str
    max_records: int = 1
    max_bytes: int = 1 << 20
    wait_s: float = 0.0
    settle: Sequence[Settlement] = ()


class Delivered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record with its delivery. ``deliveries``: how many there have been, this one included."""

    place: Place
    lease: int
    deliveries: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    value_is_json: bool
    headers: Sequence[tuple[str, bytes | None]]
    visible_ms: int
    """How long the receiver has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """``settled``: of ``Receive.settle``, in its order."""

    records: Sequence[Delivered]
    settled: Sequence[Settled] = ()
    paused: str = ""
    """Why nothing is delivered at the moment (breaker_open, window_full, in_flight_full, delayed_full,
    topic_gone), "" where there is just nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePartition:
    """How far a queue is in one partition of its topic."""

    partition: int
    next: int
    """Everything below is settled or counted in one of the others."""
    end: int
    """The high watermark, as the leader of the shard last saw it."""
    unsettled: int
    """Records below ``next`` that are not settled, those in flight, waiting and held included."""
    lost: int
    """Removed by retention before they were settled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueInfo:
    """A queue as its leader sees it. ``depth``: records that are not settled, wherever they are."""

    queue: str
    config: QueueConfig
    created_ms: int
    depth: int
    in_flight: int
    waiting: int
    """For redelivery."""
    held: int
    """Because an earlier record of their key is not settled."""
    delayed: int
    dying: int
    """On their way to the dead letters."""
    dead: int
    """Dead letters that are listed."""
    oldest_ms: int | None
    """When the oldest unsettled record was appended; None where there is none, or it is not known yet."""
    redelivered: int
    """Deliveries after the first, since the queue was made."""
    settled: int
    lost: int
    breaker: str
    """closed, open, half_open"""
    breaker_until_ms: int
    health: Sequence[str]
    """Why it does not deliver: breaker_open, window_full, delayed_full, dead_letters_unwritable,
    topic_gone."""
    partitions: Sequence[QueuePartition]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueListed:
    """A queue in a list."""

    queue: str
    topic: str
    depth: int
    dead: int
    breaker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One record that died. ``at``: where it is in the dead letter topic. ``number``: counts from 0 on for
    each source partition; with ``source``'s partition it is the letter's name."""

    source: Place
    number: int
    at: Place
    reason: str
    deliveries: int
    worker: str
    first_delivered_ms: int
    died_ms: int
    replaying: bool = False
    """It is on its way through the queue again."""


class DeadName(NamedTuple):
    """The name of a dead letter: topic's id and partition that its record was in first, and its number."""

    topic_id: int
    partition: int
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Deliver dead letters again, from the dead letter topic, to this queue alone. ``letters`` None: all that
    ``key_prefix`` and ``headers`` fit. ``per_second``: how many at most, 0 for no limit."""

    letters: Sequence[DeadName] | None = None
    key_prefix: bytes | None = None
    headers: Mapping[str, bytes] | None = None
    per_second: float = 0.0
