"""Checking a record batch on its way in: checksum, exact count, timestamps, headers, JSON values, every cap.

A batch of two kilobytes may hold a hundred thousand records and millions of headers, so headers are counted
before they are built, and ``check_if_light`` says when to check a batch elsewhere than on an event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from floodmark import packed_heads
from floodmark.batch import (
    UNDECODABLE,
    BatchHeader,
    check_header_count,
    decode_header,
    undecodable,
    unpacked,
)
from floodmark.errors import InvalidBatch, InvalidRequest
from floodmark.limits import RECORD_BYTES_MAX_DEFAULT, RECORD_HEADERS_MAX
from floodmark.record import Record

LIGHT_RECORDS_MAX: Final = 20_000
LIGHT_HEADERS_MAX: Final = 10_000
LIGHT_BYTES_MAX: Final = 2 << 20
"""What needs a look at each byte: compressed records, JSON values, headers."""


class _Bare(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A record without headers; any other does not decode."""

    timestamp: int
    key: bytes | None
    value: bytes
    is_json: bool = False
    headers: None = None


class _Apart(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A record whose headers are not built."""

    timestamp: int
    key: bytes | None
    value: bytes
    is_json: bool = False
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")


_SMALL_MAPS: Final = range(0x80, 0x90)
_LARGE_MAPS: Final = (0xDE, 0xDF)

_BARE = msgspec.msgpack.Decoder(list[_Bare])
_APART = msgspec.msgpack.Decoder(list[_Apart])
_HEADERS = msgspec.msgpack.Decoder(list[dict[str, str] | None])
_JSON = msgspec.json.Decoder(msgspec.Raw)


def check(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader:
    """The header of a batch in which everything is as it must be.

    Raises ``InvalidBatch``, ``InvalidRequest`` or ``TooLarge``.
    """
    header = decode_header(batch)
    packed = unpacked(batch, header)
    records = _without_headers(packed)
    if records is None:
        apart = _headers_apart(packed)
        _count_headers(apart)
        _check_with_headers(apart, header, record_bytes_max)
    else:
        _check_bare(records, header, record_bytes_max)
    return header


def check_if_light(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader | None:
    """As ``check``; None, with nothing said of the batch yet, when that takes more than some milliseconds."""
    header = decode_header(batch)
    is_long = header.raw_length > LIGHT_BYTES_MAX
    if header.count > LIGHT_RECORDS_MAX or (header.codec and is_long):
        return None
    packed = unpacked(batch, header)
    records = _without_headers(packed)
    if records is None:
        if is_long:
            return None
        apart = _headers_apart(packed)
        if _count_headers(apart) > LIGHT_HEADERS_MAX:
            return None
        _check_with_headers(apart, header, record_bytes_max)
    elif is_long and _has_json(records):
        return None
    else:
        _check_bare(records, header, record_bytes_max)
    return header


def _without_headers(packed: bytes | memoryview) -> list[_Bare] | None:
    """The records, if none has headers; what can not be decoded at all is found later."""
    try:
        return _BARE.decode(packed)
    except UNDECODABLE:
        return None


def _headers_apart(packed: bytes | memoryview) -> list[_Apart]:
    try:
        return _APART.decode(packed)
    except UNDECODABLE as error:
        raise undecodable(error) from error


def _count_headers(records: list[_Apart]) -> int:
    """Of all records together. Raises as ``check`` does, also where one has too many."""
    heads = bytes([memoryview(record.headers)[0] for record in records])
    total = sum(heads.count(head) * packed_heads.map_length(bytes([head])) for head in _SMALL_MAPS)
    if any(head in heads for head in _LARGE_MAPS):
        for head, record in zip(heads, records, strict=True):
            if head in _LARGE_MAPS:
                count = packed_heads.map_length(memoryview(record.headers))
                if count > RECORD_HEADERS_MAX:
                    raise InvalidRequest(
                        f"a record has {count} headers; at most {RECORD_HEADERS_MAX} are allowed"
                    )
                total += count
    check_header_count(total)
    return total


def _check_with_headers(records: list[_Apart], header: BatchHeader, record_bytes_max: int) -> None:
    """Their numbers are checked already."""
    packed = [record.headers for record in records]
    try:
        headers = _HEADERS.decode(packed_heads.array(len(packed)) + b"".join(packed))
    except UNDECODABLE as error:
        raise undecodable(error) from error
    _check_times(records, header)
    if header.raw_length > record_bytes_max and _longest(records) + max(map(len, packed)) > record_bytes_max:
        for record, its in zip(records, headers, strict=True):
            Record(record.timestamp, record.key, record.value, headers=its).check(record_bytes_max)
    if _has_json(records):
        _check_json(records)


def _check_bare(records: list[_Bare], header: BatchHeader, record_bytes_max: int) -> None:
    _check_times(records, header)
    # A batch that is smaller than one record may be holds no record that is too large.
    if header.raw_length > record_bytes_max and _longest(records) > record_bytes_max:
        for record in records:
            Record(record.timestamp, record.key, record.value).check(record_bytes_max)
    if _has_json(records):
        _check_json(records)


def _check_times(records: Sequence[_Bare | _Apart], header: BatchHeader) -> None:
    times = [record.timestamp for record in records]
    if times[0] != header.first_timestamp:
        raise InvalidBatch("first_timestamp is not the first record's timestamp")
    if max(times) != header.max_timestamp:
        raise InvalidBatch("max_timestamp is not the greatest of the records' timestamps")


def _longest(records: Sequence[_Bare | _Apart]) -> int:
    """No record has a larger size than this, headers aside; far cheaper than to ask each."""
    return max([len(record.value) for record in records]) + max(
        [len(record.key or b"") for record in records]
    )


def _has_json(records: Sequence[_Bare | _Apart]) -> bool:
    return True in [record.is_json for record in records]


def _check_json(records: Sequence[_Bare | _Apart]) -> None:
    """Readers are handed a JSON value to the letter, so a broken one must not get in."""
    for record in records:
        if record.is_json:
            try:
                record.value.decode()
                _JSON.decode(record.value)
            except UNDECODABLE as error:
                raise InvalidBatch(f"a value is marked as JSON and is none: {error}") from error
