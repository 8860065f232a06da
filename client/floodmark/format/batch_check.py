"""Checking a record batch on its way in: checksum, exact count, timestamps, headers, JSON values, every cap.

A batch of two kilobytes may hold a hundred thousand records and millions of headers, so headers are counted
before they are built, and ``check_if_light`` says when to check a batch outside of the event loop.
Whether the cluster's feature level allows the batch is checked elsewhere.
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
"""Bytes of compressed records, JSON values or headers, each of which has to be looked at."""


class _Plain(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A record without headers; any other does not decode."""

    timestamp: int
    key: bytes | None
    value: bytes
    is_json: bool = False
    headers: None = None


class _RawHeaders(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A record whose headers stay encoded."""

    timestamp: int
    key: bytes | None
    value: bytes
    is_json: bool = False
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")


class _Plain2(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Like ``_Plain``, in format 2."""

    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool = False
    headers: None = None


class _RawHeaders2(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Like ``_RawHeaders``, in format 2."""

    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool = False
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")


_AnyPlain = Sequence[Any]
"""Records of ``_Plain`` or ``_Plain2``."""
_AnyRaw = Sequence[Any]
"""Records of ``_RawHeaders`` or ``_RawHeaders2``."""


class _Format:
    """What differs between the formats. ``small``, ``large``: the first bytes of what has headers in it."""

    def __init__(self, plain: Any, raw_headers: Any, headers: Any, *, small: int, large: int) -> None:
        self.plain = msgspec.msgpack.Decoder(plain)
        self.raw_headers = msgspec.msgpack.Decoder(raw_headers)
        self.headers = msgspec.msgpack.Decoder(headers)
        self.small = range(small, small + 0x10)
        self.large = (large, large + 1)
        self.length = packed_heads.map_length if small == 0x80 else packed_heads.array_length


_HAS_REMOVED: Final = int(BatchFlag.HAS_REMOVED)
_UNTIMED: Final = int(BatchFlag.UNTIMED)
_FORMATS: Final = {
    1: _Format(list[_Plain], list[_RawHeaders], list[dict[str, str] | None], small=0x80, large=0xDE),
    2: _Format(
        list[_Plain2], list[_RawHeaders2], list[list[tuple[str, bytes | None]] | None], small=0x90, large=0xDC
    ),
}
_JSON = msgspec.json.Decoder(msgspec.Raw)


def check(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader:
    """Check a whole batch and return its header.

    Raises ``InvalidBatch``, ``InvalidRequest`` or ``TooLarge``.
    """
    header = decode_header(batch)
    packed = unpacked(batch, header)
    form = _FORMATS[header.format]
    records = _without_headers(packed, form)
    if records is None:
        raw_headers = _with_raw_headers(packed, form)
        _count_headers(raw_headers, form)
        _check_with_headers(raw_headers, header, record_bytes_max, form)
    else:
        _check_plain(records, header, record_bytes_max)
    return header


def check_if_light(batch: bytes, *, record_bytes_max: int = RECORD_BYTES_MAX_DEFAULT) -> BatchHeader | None:
    """Like ``check``, or None, with the batch not judged yet, if that takes more than some milliseconds."""
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
        raw_headers = _with_raw_headers(packed, form)
        if _count_headers(raw_headers, form) > LIGHT_HEADERS_MAX:
            return None
        _check_with_headers(raw_headers, header, record_bytes_max, form)
    elif is_long and _has_json(records):
        return None
    else:
        _check_plain(records, header, record_bytes_max)
    return header


def _without_headers(packed: bytes | memoryview, form: _Format) -> _AnyPlain | None:
    """The records, if none has headers. None also for what cannot be decoded at all: that is found later."""
    try:
        return form.plain.decode(packed)  # type: ignore[no-any-return]
    except UNDECODABLE:
        return None


def _with_raw_headers(packed: bytes | memoryview, form: _Format) -> _AnyRaw:
    try:
        return form.raw_headers.decode(packed)  # type: ignore[no-any-return]
    except UNDECODABLE as error:
        raise undecodable(error) from error


def _count_headers(records: _AnyRaw, form: _Format) -> int:
    """Headers of all records together. Raises like ``check`` if one record, or all, have too many."""
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


def _check_with_headers(records: _AnyRaw, header: BatchHeader, record_bytes_max: int, form: _Format) -> None:
    """Check records whose header counts are checked already."""
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


def _check_plain(records: _AnyPlain, header: BatchHeader, record_bytes_max: int) -> None:
    _check_times(records, header)
    _check_tombstones(records, header)
    # A batch smaller than the limit of one record cannot hold a record that is too large.
    if header.raw_length > record_bytes_max and _longest(records) > record_bytes_max:
        for record in records:
            Record(record.timestamp, record.key, record.value).check(record_bytes_max)
    if _has_json(records):
        _check_json(records)


def _check_times(records: _AnyPlain | _AnyRaw, header: BatchHeader) -> None:
    if header.flags & _HAS_REMOVED:
        raise InvalidBatch("a producer's batch cannot have removed records")
    times = [record.timestamp for record in records]
    untimed = None in times
    first, latest = _some_times(times) if untimed else (times[0], max(times))
    if first != header.first_timestamp:
        raise InvalidBatch("first_timestamp differs from the first record's timestamp")
    if latest != header.max_timestamp:
        raise InvalidBatch("max_timestamp differs from the greatest of the records' timestamps")
    if header.format > 1 and (bool(header.flags & _UNTIMED) is not untimed or NO_TIMESTAMP in times):
        raise InvalidBatch("the flag for records without a timestamp does not match the records")


def _some_times(times: list[int | None]) -> tuple[int, int]:
    first = NO_TIMESTAMP if times[0] is None else times[0]
    return first, max([time for time in times if time is not None], default=NO_TIMESTAMP)


def _check_tombstones(records: _AnyPlain | _AnyRaw, header: BatchHeader) -> None:
    if header.format > 1 and any([record.value is None and record.is_json for record in records]):  # noqa: C419
        raise InvalidBatch("a record without a value is marked as JSON")


def _longest(records: _AnyPlain | _AnyRaw) -> int:
    """Upper bound on the size of a record without headers, cheaper than measuring each."""
    return max([len(record.value or b"") for record in records]) + max(
        [len(record.key or b"") for record in records]
    )


def _has_json(records: _AnyPlain | _AnyRaw) -> bool:
    return True in [record.is_json for record in records]


def _check_json(records: _AnyPlain | _AnyRaw) -> None:
    """Readers get a JSON value exactly as it was sent, so a broken one must not get in."""
    for record in records:
        if record.is_json and record.value is not None:
            try:
                record.value.decode()
                _JSON.decode(record.value)
            except UNDECODABLE as error:
                raise InvalidBatch(f"a value is marked as JSON but is not valid JSON: {error}") from error
