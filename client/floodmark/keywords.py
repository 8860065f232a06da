"""The keyword arguments of the client's methods as types, for code that passes them on (``floodmark.sync``).

Their meaning and defaults are documented at the method of ``floodmark.Client`` that takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from floodmark.consumer.fetcher import End, Start
from floodmark.format.headers import HeadersLike
from floodmark.format.values import Key, Timestamp
from floodmark.groups.options import Commit, OnGap, OnPartitions, WhereNone
from floodmark.groups.shapes import TopicPartition
from floodmark.producer.delivery import Delay
from floodmark.producer.options import Acks, Compression
from floodmark.queues.descriptions import Breaker, Ordering, QueueStart
from floodmark.transport.credentials import Token
from floodmark.transport.tls import Cert, Tls


class Within(TypedDict, total=False):
    """A call's deadline."""

    timeout_s: float | None


class OfClient(TypedDict, total=False):
    """``Client``"""

    timeout_s: float
    request_timeout_s: float
    token: Token | None
    tls: Tls
    cert: Cert


class OfDelivery(TypedDict, total=False):
    """When queues deliver what is produced."""

    delay: Delay
    deliver_at: Timestamp


class OfRecord(OfDelivery, total=False):
    """``Producer.send``"""

    key: Key
    partition: int | None
    headers: HeadersLike | None
    timestamp: Timestamp


class OfRecords(OfDelivery, total=False):
    """``Producer.send_many``"""

    keys: Sequence[Key] | None
    partition: int | None
    timestamp: Timestamp


class OfProduce(OfRecord, Within, total=False):
    """``Client.produce``"""

    acks: Acks


class OfProducer(TypedDict, total=False):
    """``Client.producer``: the fields of ``ProducerOptions``."""

    linger_ms: float
    batch_bytes: int
    compression: Compression
    idempotent: bool
    name: str | None
    epoch: int | None
    acks: Acks
    memory_bytes_max: int
    delivery_timeout_s: float
    in_flight_max: int


class OfRead(Within, total=False):
    """``Client.read``"""

    start: Start
    end: End
    follow: bool
    idle_s: float | None
    prefetch_bytes: int
    topic_id: int | None


class OfProcess(Within, total=False):
    """``Client.process``: the fields of ``ProcessOptions``."""

    partitions: Sequence[int] | None
    follow: bool
    batch_bytes: int
    compression: Compression
    position_every_s: float


class OfConsume(Within, total=False):
    """``Client.consume``, besides ``group``"""

    pattern: str | None
    start: WhereNone
    commit: Commit
    follow: bool
    instance_id: str | None
    assignor: str | None
    session_timeout_s: float
    rebalance_timeout_s: float
    on_assigned: OnPartitions | None
    on_revoked: OnPartitions | None
    on_lost: OnPartitions | None
    on_gap: OnGap | None
    prefetch_bytes: int


class OfWorker(Within, total=False):
    """``Client.queue``"""

    worker: str | None


class OfJobs(TypedDict, total=False):
    """``Queue.jobs`` and ``Queue.run``"""

    concurrency: int
    prefetch: int
    wait_s: float
    idle_s: float | None
    drain_s: float


class OfQueue(Within, total=False):
    """``Queues.put``, besides the topic"""

    visibility_timeout_s: float | None
    max_deliveries: int | None
    backoff_s: Sequence[float] | None
    ordering: Ordering | None
    max_in_flight: int | None
    max_in_flight_per_worker: int | None
    dead_letter_topic: str | None
    start: QueueStart | None
    window: int | None
    breaker: Breaker | None


class OfReceive(Within, total=False):
    """``Queues.receive``"""

    wait_s: float
    worker: str | None


class OfReplay(Within, total=False):
    """``Queues.replay``"""

    key_prefix: str | None
    headers: Mapping[str, str] | None
    per_second: float | None


class OfReset(Within, total=False):
    """``Groups.reset``"""

    topics: Sequence[str]
    partitions: Sequence[TopicPartition]
    dry_run: bool
    force: bool


class OfTopicId(Within, total=False):
    """Options of calls for one topic id: ``Client.tail``, ``Topics.describe``, ``Topics.delete``."""

    topic_id: int | None


class OfTopic(Within, total=False):
    """``Topics.create`` and ``Topics.ensure``"""

    partitions: int
    replication_factor: int | None
    config: Mapping[str, Any] | None
