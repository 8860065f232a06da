"""Bodies to records: JSON, NDJSON, MessagePack and one raw value."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

import msgspec
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.format.limits import RECORD_HEADERS_MAX
from floodmark.format.record import Record

from node.http import doubled, raw_value
from node.http.headers_in import MALFORMED, GivenHeaders, HeadersIn
from node.http.json_guard import check_text, check_value, is_json
from node.http.media import Media, body_media
from node.http.members_in import PackedIn, RecordIn, parsed
from node.http.query import OFFSET_MAX
from node.http.raw_value import RecordHead, check_format_1
from node.service import timestamps
from node.service.division import Incoming
from node.service.repeated_batches import TRACE

"""A request's trace becomes a header of its records."""
_TRACE_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_UNSET: Final = msgspec.UNSET
_ANY = msgspec.msgpack.Decoder()
_TO_JSON = msgspec.json.Encoder()
_PACKED_PER_TEXT: Final = 9
"""The most MessagePack bytes of a value per byte of its JSON: a one-digit number of 64 bits has this."""


class Reading(NamedTuple):
    """What decides about records besides their body."""

    now_ms: int
    record_bytes_max: int
    batch_format: int = 1
    """The highest that the cluster's feature level takes."""
    copies: bool = False
    """They were read, to be stored as the same records: add nothing to them."""
    is_traced: bool = True
    """Whether the request's trace is added."""


def read_records(head: RecordHead, media: Media, body: bytes, reading: Reading) -> list[Incoming]:
    """The records of ``body``, each checked. Raises ``InvalidRequest``, ``TooLarge``, ``FeatureLevelNeeded``.

    All objects of the body are built first, so it must be light (``body_weight.py``) or already counted.
    """
    headers = HeadersIn(reading.batch_format)
    if media is Media.BYTES:
        record, wanted = raw_value.read(
            head,
            body,
            now_ms=reading.now_ms,
            record_bytes_max=reading.record_bytes_max,
            batch_format=reading.batch_format,
        )
        found = [Incoming(record, wanted)]
    elif media is Media.MSGPACK:
        items, _, _ = parsed(media, body, copies=reading.copies)
        found = [
            _from_msgpack(
                item,
                None
                if item.headers is _UNSET is item.headers_list
                else headers.of_msgpack(item.headers, item.headers_list),
                reading,
            )
            for item in items
        ]
        doubled.check_msgpack(body)
    else:
        check_text(body)
        items, has_envelope, colons = parsed(media, body, copies=reading.copies)
        found = [
            _from_json(
                item,
                None
                if item.headers is _UNSET is item.headers_list
                else headers.of_json(item.headers, item.headers_list),
                reading,
            )
            for item in items
        ]
        headers.colons += colons
        doubled.check_json(body, items, [item.record for item in found], int(has_envelope), headers)
    if not found:
        raise InvalidRequest("the body has no records")
    trace = head.headers.get(TRACE)
    if trace is None or reading.copies or not reading.is_traced or _TRACE_FORM.fullmatch(trace) is None:
        return found
    return _traced(found, trace, headers.left, reading)


def media_of(head: RecordHead, *, copies: bool = False) -> Media:
    """A body's media type. Raises ``InvalidRequest`` when headers give what the body has to give itself."""
    media = body_media(head.headers.get("Content-Type"))
    if copies and (media is Media.BYTES or media is Media.BATCH):
        raise InvalidRequest(
            f"mode=copy is for records that were read as JSON, lines or MessagePack; leave it out for {media}"
        )
    if media is not Media.BYTES:
        for name, _ in head.raw_headers:
            if name[:7].lower() == b"record-":
                raise InvalidRequest(
                    f"{name.decode()} belongs to a raw value (application/octet-stream); "
                    "give it in the body for these records"
                )
    return media


def _from_json(item: RecordIn, headers: GivenHeaders, reading: Reading) -> Incoming:
    if item.tombstone is True:
        return _tombstone(item, headers, reading)
    if item.value is _UNSET:
        return _incoming(item, _opaque(item), headers, reading, as_json=False)
    if item.value_b64 is not _UNSET:
        raise InvalidRequest('a record has either "value" or "value_b64"')
    value = bytes(item.value)
    if len(value) <= reading.record_bytes_max:  # else the record is refused anyway, without a second look
        check_value(value)
    return _incoming(item, value, headers, reading, as_json=True)


def _from_msgpack(item: PackedIn, headers: GivenHeaders, reading: Reading) -> Incoming:
    if item.tombstone is True:
        return _tombstone(item, headers, reading)
    if item.value_json is not _UNSET:
        return _incoming(item, _json_text(item, reading), headers, reading, as_json=True)
    if item.value is _UNSET:
        return _incoming(item, _opaque(item), headers, reading, as_json=False)
    if item.value_b64 is not _UNSET:
        raise InvalidRequest('a record has either "value" or "value_b64"')
    value, as_json = _packed_value(memoryview(item.value), reading)
    return _incoming(item, value, headers, reading, as_json=as_json)


def _packed_value(packed: memoryview, reading: Reading) -> tuple[bytes, bool]:
    """The value to store, and whether it is JSON."""
    if len(packed) > _PACKED_PER_TEXT * reading.record_bytes_max + _PACKED_PER_TEXT:
        raise TooLarge(
            f"a value has {len(packed)} bytes of MessagePack; this topic allows records of "
            f"{reading.record_bytes_max} bytes, their values as JSON",
            limit=reading.record_bytes_max,
        )
    try:
        value = _ANY.decode(packed)
        if isinstance(value, bytes):
            return value, False
        text = _TO_JSON.encode(value)
        if len(text) > reading.record_bytes_max:  # It is refused: skip the slower checks.
            return text, True
        # The standard library's encoder refuses what JSON cannot have: NaN, binary, extension types.
        json.dumps(value, allow_nan=False)
        if msgspec.json.decode(text) != value:
            raise InvalidRequest("a value has map keys that are not strings")
    except MALFORMED as error:
        raise InvalidRequest(f"a value is not MessagePack: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"a value is neither binary nor what JSON can say: {error}") from error
    check_value(text)
    return text, True


def _json_text(item: PackedIn, reading: Reading) -> bytes:
    """The text of a JSON value, which is stored verbatim."""
    if item.value is not _UNSET or item.value_b64 is not _UNSET:
        raise InvalidRequest('a record has one of "value", "value_b64" and "value_json"')
    text = str(item.value_json).encode()
    if len(text) <= reading.record_bytes_max:  # as above
        if not is_json(text):
            raise InvalidRequest("a value_json is not JSON")
        check_value(text)
    return text


def _tombstone(item: RecordIn, headers: GivenHeaders, reading: Reading) -> Incoming:
    others = item.value, item.value_b64, getattr(item, "value_json", _UNSET)
    if others.count(_UNSET) < len(others):
        raise InvalidRequest("a tombstone has no value: leave one of the two out")
    return _incoming(item, None, headers, reading, as_json=False)


def _opaque(item: RecordIn) -> bytes:
    if item.value_b64 is _UNSET:
        raise InvalidRequest(
            'a record needs a "value" (any JSON), a "value_b64" (bytes), or "tombstone": true (none)'
        )
    return item.value_b64


def _incoming(
    item: RecordIn, value: bytes | None, headers: GivenHeaders, reading: Reading, *, as_json: bool
) -> Incoming:
    key, key_b64, timestamp, partition = item.key, item.key_b64, item.timestamp, item.partition
    if key is None or key is _UNSET:
        named = None if key_b64 is _UNSET else key_b64
    elif key_b64 is None or key_b64 is _UNSET:
        named = key.encode() if isinstance(key, str) else _packed_key(key)
    else:
        raise InvalidRequest('a record has either "key" or "key_b64"')
    record = Record(
        reading.now_ms
        if timestamp is _UNSET
        else timestamps.parse(timestamp)
        if isinstance(timestamp, str)
        else _time(timestamp, reading),
        named,
        value,
        as_json,
        headers,
    )
    if headers or len(value or b"") + len(named or b"") > reading.record_bytes_max:
        record.check(reading.record_bytes_max)
    if reading.batch_format == 1:
        check_format_1(record)
    if partition is None or partition is _UNSET:
        return Incoming(record, None)
    if not 0 <= partition <= OFFSET_MAX:
        raise InvalidRequest(f"invalid partition {partition}")
    return Incoming(record, partition)


def _packed_key(key: object) -> bytes:
    if isinstance(key, bytes):
        return key
    raise InvalidRequest(f"a key is text or binary, not {type(key).__name__}")


def _time(given: int | None, reading: Reading) -> int | None:
    """In copies null means that the producer gave none, and a number may be outside the calendar."""
    if not reading.copies:
        return reading.now_ms if given is None else timestamps.parse(given)
    if given is not None and not -OFFSET_MAX <= given <= OFFSET_MAX:
        raise InvalidRequest(f"invalid time {given} ms: it has more than 64 bits")
    return given


def _traced(found: list[Incoming], trace: str, headers_left: int, reading: Reading) -> list[Incoming]:
    """The records with the request's trace among their headers, where there is room for it."""
    if headers_left < len(found):
        return found
    largest = reading.record_bytes_max - len(TRACE) - len(trace)
    return [item if _has_no_room(item.record, largest) else _with_trace(item, trace) for item in found]


def _has_no_room(record: Record, largest: int) -> bool:
    pairs = record.headers.pairs
    return len(pairs) >= RECORD_HEADERS_MAX or record.size > largest or TRACE in [name for name, _ in pairs]


def _with_trace(item: Incoming, trace: str) -> Incoming:
    pairs = [*item.record.headers.pairs, (TRACE, trace.encode())]
    return Incoming(msgspec.structs.replace(item.record, pairs=pairs), item.partition)
