"""Checking a record batch on its way in: checksum, exact count, timestamps, headers, JSON values, every cap.

A batch of two kilobytes may hold a hundred thousand records and millions of headers, so headers are counted
before they are built, and ``check_if_light`` says when to check a batch elsewhere than on an event loop.
What a cluster of this feature level does not take is for others to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from floodmark.errors import InvalidBatch, InvalidRequest
from floodmark.format import packed_heads
from floodmark.format.batch import (
    UNDECODABLE,
    BatchFlag,
    BatchHeader,
    check_header_count,
    decode_header,
    undecodable,
    unpacked,
)
from floodmark.format.batch_header import NO_TIMESTAMP
from floodmark.format.limits import RECORD_BYTES_MAX_DEFAULT, RECORD_HEADERS_MAX
from floodmark.format.record import Record

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


class _Bare2(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """As ``_Bare``, of format 2."""

    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool = False
    headers: None = None


class _Apart2(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """As ``_Apart``, of format 2."""

    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool = False
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")


_AnyBare = Sequence[Any]
"""Of ``_Bare`` or ``_Bare2``."""
_AnyApart = Sequence[Any]
"""Of ``_Apart`` or ``_Apart2``."""


class _Format:
    """What differs between the formats. ``small``, ``large``: the first bytes of what has headers in it."""

    def __init__(self, bare: Any, apart: Any, headers: Any, *, small: int, large: int) -> None:
        self.bare = msgspec.msgpack.Decoder(bare)
        self.apart = msgspec.msgpack.Decoder(apart)
        self.headers = msgspec.msgpack.Decoder(headers)
        self.small = range(small, small + 0x10)
        self.large = (large, large + 1)
        self.length = packed_heads.map_length if small == 0x80 else packed_heads.array_length


_HAS_REMOVED: Final = int(BatchFlag.HAS_REMOVED)
_UNTIMED: Final = int(BatchFlag.UNTIMED)
_FORMATS: Final = {
    1: _Format(list[_Bare], list[_Apart], list[dict[str, str] | None], small=0x80, large=0xDE),
    2: _Format(
        list[_Bare2], list[_Apart2], list[list[tuple[str, bytes | None]] | None], small=0x90, large=0xDC
    ),
}
_JSON = msgspec.json.Decoder(msgspec.Raw)


def check(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader:
    """The header of a batch in which everything is as it must be.

    Raises ``InvalidBatch``, ``InvalidRequest`` or ``TooLarge``.
    """
    header = decode_header(batch)
    packed = unpacked(batch, header)
    form = _FORMATS[header.format]
    records = _without_headers(packed, form)
    if records is None:
        apart = _headers_apart(packed, form)
        _count_headers(apart, form)
        _check_with_headers(apart, header, record_bytes_max, form)
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
    form = _FORMATS[header.format]
    records = _without_headers(packed, form)
    if records is None:
        if is_long:
            return None
        apart = _headers_apart(packed, form)
        if _count_headers(apart, form) > LIGHT_HEADERS_MAX:
            return None
        _check_with_headers(apart, header, record_bytes_max, form)
    elif is_long and _has_json(records):
        return None
    else:
        _check_bare(records, header, record_bytes_max)
    return header


def _without_headers(packed: bytes | memoryview, form: _Format) -> _AnyBare | None:
    """The records, if none has headers; what cannot be decoded at all is found later."""
    try:
        return form.bare.decode(packed)  # type: ignore[no-any-return]
    except UNDECODABLE:
        return None


def _headers_apart(packed: bytes | memoryview, form: _Format) -> _AnyApart:
    try:
        return form.apart.decode(packed)  # type: ignore[no-any-return]
    except UNDECODABLE as error:
        raise undecodable(error) from error


def _count_headers(records: _AnyApart, form: _Format) -> int:
    """Of all records together. Raises as ``check`` does, also where one has too many."""
    heads = bytes([memoryview(record.headers)[0] for record in records])
    total = sum(heads.count(head) * (head - form.small.start) for head in form.small)
    if any(head in heads for head in form.large):
        for head, record in zip(heads, records, strict=True):
            if head in form.large:
                count = form.length(memoryview(record.headers))
                if count > RECORD_HEADERS_MAX:
                    raise InvalidRequest(
                        f"a record has {count} headers; at most {RECORD_HEADERS_MAX} are allowed"
                    )
                total += count
    check_header_count(total)
    return total


def _check_with_headers(
    records: _AnyApart, header: BatchHeader, record_bytes_max: int, form: _Format
) -> None:
    """Their numbers are checked already."""
    packed = [record.headers for record in records]
    try:
        headers = form.headers.decode(packed_heads.array(len(packed)) + b"".join(packed))
    except UNDECODABLE as error:
        raise undecodable(error) from error
    _check_times(records, header)
    _check_tombstones(records, header)
    if header.raw_length > record_bytes_max and _longest(records) + max(map(len, packed)) > record_bytes_max:
        for record, its in zip(records, headers, strict=True):
            Record(record.timestamp, record.key, record.value, pairs=its).check(record_bytes_max)
    if _has_json(records):
        _check_json(records)


def _check_bare(records: _AnyBare, header: BatchHeader, record_bytes_max: int) -> None:
    _check_times(records, header)
    _check_tombstones(records, header)
    # A batch that is smaller than one record may be holds no record that is too large.
    if header.raw_length > record_bytes_max and _longest(records) > record_bytes_max:
        for record in records:
            Record(record.timestamp, record.key, record.value).check(record_bytes_max)
    if _has_json(records):
        _check_json(records)


def _check_times(records: _AnyBare | _AnyApart, header: BatchHeader) -> None:
    if header.flags & _HAS_REMOVED:
        raise InvalidBatch("a producer's batch has no removed records")
    times = [record.timestamp for record in records]
    untimed = None in times
    first, latest = _some_times(times) if untimed else (times[0], max(times))
    if first != header.first_timestamp:
        raise InvalidBatch("first_timestamp is not the first record's timestamp")
    if latest != header.max_timestamp:
        raise InvalidBatch("max_timestamp is not the greatest of the records' timestamps")
    if header.format > 1 and (bool(header.flags & _UNTIMED) is not untimed or NO_TIMESTAMP in times):
        raise InvalidBatch("the flag for records without a timestamp is not as the records are")


def _some_times(times: list[int | None]) -> tuple[int, int]:
    first = NO_TIMESTAMP if times[0] is None else times[0]
    return first, max([time for time in times if time is not None], default=NO_TIMESTAMP)


def _check_tombstones(records: _AnyBare | _AnyApart, header: BatchHeader) -> None:
    if header.format > 1 and any([record.value is None and record.is_json for record in records]):  # noqa: C419
        raise InvalidBatch("a record without a value is marked as JSON")


def _longest(records: _AnyBare | _AnyApart) -> int:
    """No record has a larger size than this, headers aside; far cheaper than to ask each."""
    return max([len(record.value or b"") for record in records]) + max(
        [len(record.key or b"") for record in records]
    )


def _has_json(records: _AnyBare | _AnyApart) -> bool:
    return True in [record.is_json for record in records]


def _check_json(records: _AnyBare | _AnyApart) -> None:
    """Readers are handed a JSON value to the letter, so a broken one must not get in."""
    for record in records:
        if record.is_json and record.value is not None:
            try:
                record.value.decode()
                _JSON.decode(record.value)
            except UNDECODABLE as error:
                raise InvalidBatch(f"a value is marked as JSON and is none: {error}") from error
