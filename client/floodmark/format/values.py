"""The values that a producer accepts, and what is stored for them. One rule:

``bytes``, ``bytearray`` and ``memoryview`` are stored as the bytes that they are; everything else is stored
as JSON (``str``, numbers, ``None``, lists, dicts, dataclasses, ``msgspec.Struct``, ``datetime``, ``UUID``).
What JSON cannot represent (NaN, infinities, two members of the same name) is refused. ``TOMBSTONE`` is not a
value: it deletes the key. (``None`` is a value, JSON's null.)
A key is text (stored as UTF-8) or bytes. A timestamp is milliseconds since the Unix epoch or a ``datetime``.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from floodmark.errors import InvalidRequest
from floodmark.format import json_text
from floodmark.format.headers import HeadersLike, pairs_of
from floodmark.format.record import Record

Key = str | bytes | None
Timestamp = int | dt.datetime | None


class Tombstone(Enum):
    """The type of ``TOMBSTONE``."""

    TOMBSTONE = "tombstone"


TOMBSTONE: Final = Tombstone.TOMBSTONE
"""In place of a value: this record deletes its key."""


def now_ms() -> int:
    """The wall clock: the event time of records that have no other."""
    return time.time_ns() // 1_000_000


def record_of(
    value: Any,
    key: Key = None,
    headers: HeadersLike | None = None,
    timestamp: Timestamp = None,
) -> Record:
    """The record to store. Raises ``InvalidRequest`` for what cannot be stored."""
    data, is_json = (value, False) if type(value) is bytes else value_of(value)
    return Record(
        time.time_ns() // 1_000_000 if timestamp is None else timestamp_of(timestamp),
        None if key is None else key_of(key),
        data,
        is_json,
        pairs_of(headers) if headers else None,
    )


def records_of(values: Sequence[Any], keys: Sequence[Key] | None, timestamp: Timestamp) -> list[Record]:
    """Records with the same timestamp for many values. Raises ``InvalidRequest`` if one cannot be stored."""
    if keys is not None and len(keys) != len(values):
        raise InvalidRequest(f"{len(values)} values and {len(keys)} keys: give one key for each value")
    time_ms = timestamp_of(timestamp)
    if keys is None:
        return [
            Record(time_ms, None, value) if type(value) is bytes else Record(time_ms, None, *value_of(value))
            for value in values
        ]
    return [Record(time_ms, key_of(key), *value_of(value)) for value, key in zip(values, keys, strict=True)]


def value_of(value: Any) -> tuple[bytes | None, bool]:
    """The bytes of a value (None: a tombstone), and whether they are the text of a JSON document."""
    if value is TOMBSTONE:
        return None, False
    if isinstance(value, bytes):
        return value, False
    if isinstance(value, bytearray | memoryview):
        return bytes(value), False
    return json_text.encode(value), True


def key_of(key: Key) -> bytes | None:
    """The bytes of a key."""
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return _utf8(key)
    raise InvalidRequest(f"a key must be text or bytes, not {type(key).__name__}")


def timestamp_of(timestamp: Timestamp) -> int:
    """Milliseconds since the Unix epoch; now for None. A ``datetime`` without a zone is refused."""
    if timestamp is None:
        return now_ms()
    if isinstance(timestamp, dt.datetime):
        if timestamp.tzinfo is None:
            raise InvalidRequest("a datetime needs a time zone: which moment is meant?")
        return round(timestamp.timestamp() * 1000)
    if isinstance(timestamp, int) and -(1 << 63) <= timestamp < 1 << 63:
        return timestamp
    raise InvalidRequest("a timestamp must be milliseconds since the Unix epoch, or a datetime")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"this text cannot be encoded as UTF-8: {error}") from error
