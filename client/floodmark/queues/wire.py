"""Records of queues as nodes send them."""

from __future__ import annotations

import base64
import datetime as dt

import msgspec

from floodmark.queues.shapes import Outcome, QueueRecord

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


class _Bytes(msgspec.Struct):
    b64: str


class WireRecord(msgspec.Struct):
    """A record in an answer, with its delivery where it has one."""

    partition: int
    offset: int
    topic: str = ""
    timestamp: str | int | None = None
    key: str | None = None
    key_b64: str | None = None
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value_b64: str | None = None
    headers: dict[str, str] | None = None
    headers_list: list[tuple[str, str | _Bytes | None]] | None = None
    receipt: str = ""
    deliveries: int = 0
    visible_ms: int = 0

    def record(self) -> QueueRecord:
        """As the program sees it."""
        is_json = self.value is not msgspec.UNSET
        value: bytes | None = None
        if isinstance(self.value, msgspec.Raw):
            value = bytes(self.value)
        elif self.value_b64 is not None:
            value = base64.b64decode(self.value_b64)
        return QueueRecord(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            timestamp=_milliseconds(self.timestamp),
            key=self.key.encode() if self.key is not None else _decoded(self.key_b64),
            value=value,
            is_json=is_json,
            pairs=self.headers if self.headers_list is None else _pairs(self.headers_list),
            receipt=self.receipt,
            deliveries=self.deliveries,
            visible_ms=self.visible_ms,
        )


class SettledReceipt(msgspec.Struct):
    """What came of one settlement."""

    result: Outcome
    receipt: str = ""


class Settled(msgspec.Struct):
    """The answer to settlements."""

    settled: list[SettledReceipt] = []


class Received(msgspec.Struct):
    """The answer to a receive."""

    records: list[WireRecord]
    settled: list[SettledReceipt] = []
    paused: str = ""


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _milliseconds(time: str | int | None) -> int | None:
    """Times beyond the calendar are told as numbers."""
    return (dt.datetime.fromisoformat(time) - _EPOCH) // _MILLISECOND if isinstance(time, str) else time


def _pairs(listed: list[tuple[str, str | _Bytes | None]]) -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = []
    for name, value in listed:
        if isinstance(value, _Bytes):
            found.append((name, base64.b64decode(value.b64)))
        else:
            found.append((name, None if value is None else value.encode()))
    return found
