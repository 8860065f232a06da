"""What a sender gets: its options, and the callbacks of the producer around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from floodmark.format.batch import CODEC_NONE
from floodmark.producer.producer_batch import ProducerBatch


class SenderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What all senders of a producer share. ``is_durable``: acknowledged means on a majority's disks."""

    linger_s: float
    batch_bytes: int
    codec: int = CODEC_NONE
    is_durable: bool = True
    in_flight_max: int = 1
    delivery_timeout_s: float = 30.0


class SenderHost(msgspec.Struct, frozen=True):
    """The callbacks: one attempt to store a producer batch (returns the first offset), a notification when
    one is settled, and whether another node could be asked at once."""

    send: Callable[[ProducerBatch], Awaitable[int]]
    settled: Callable[[ProducerBatch], None]
    has_alternative: Callable[[], bool]
