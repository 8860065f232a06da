"""What is said to queues, and what they say."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Final, Self

import msgspec

from floodmark.format.headers import Headers
from floodmark.format.record import headers_of, json_of, key_text_of

REASON_CHARACTERS_MAX: Final = 1_000
"""Of why a delivery failed; what is longer is cut."""


class Action(enum.StrEnum):
    """How a delivery ends, or goes on."""

    ACK = "ack"
    NACK = "nack"
    EXTEND = "extend"
    REJECT = "reject"
    RELEASE = "release"
    """It was not begun: again at once. That is no failure, and does not count as a delivery."""


class Outcome(enum.StrEnum):
    """What came of a settlement. ``LATE``: the delivery was over, and nothing was done."""

    DONE = "done"
    ALREADY = "already"
    LATE = "late"


class Settlement(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one delivery. ``delay_ms``: of a nack, until the record is delivered again; ``visible_ms``: of an
    extension, how long the worker has from now on."""

    receipt: str
    action: Action
    delay_ms: int | None = None
    visible_ms: int | None = None
    reason: str = ""

    @classmethod
    def nack(cls, receipt: str, delay_s: float | None = None, *, error: BaseException | None = None) -> Self:
        """Again after the delay; after the queue's backoff where it is None. ``error``: why it failed."""
        reason = "" if error is None else f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]
        return cls(receipt, Action.NACK, delay_ms=milliseconds(delay_s), reason=reason)

    @classmethod
    def extend(cls, receipt: str, timeout_s: float | None = None) -> Self:
        """By the queue's visibility timeout where it is None."""
        return cls(receipt, Action.EXTEND, visible_ms=milliseconds(timeout_s))


def milliseconds(seconds: float | None) -> int | None:
    """At least 0."""
    return None if seconds is None else max(0, round(seconds * 1000))


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of one record.

    topic, partition, offset  its place: in the queue's topic, or of a replayed one in its dead letters
    timestamp    event time in milliseconds since the Unix epoch; None if the producer set none
    key, value, is_json, pairs  as in ``ConsumedRecord``
    receipt      with which it is settled
    deliveries   how often it has been delivered, this time included
    visible_ms   how long the receiver has
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool
    pairs: list[tuple[str, bytes | None]] | dict[str, str] | None
    receipt: str
    deliveries: int
    visible_ms: int

    @property
    def headers(self) -> Headers:
        """The headers, by name."""
        return headers_of(self.pairs)

    @property
    def key_text(self) -> str | None:
        """The key as text. Raises ``InvalidRequest`` if it is not UTF-8."""
        return key_text_of(self.key)

    def json(self, *, exact: bool = False) -> Any:
        """The value as Python objects; see ``ConsumedRecord.json``."""
        return json_of(self.value, self.is_json, exact=exact)


class Deliveries(list[QueueRecord]):
    """What one receive brought. ``paused``: why it is nothing though records wait, such as ``breaker_open``;
    "" otherwise."""

    def __init__(self, records: Iterable[QueueRecord], paused: str) -> None:
        super().__init__(records)
        self.paused = paused
