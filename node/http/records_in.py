"""Bodies to records: JSON, NDJSON, MessagePack and one raw value, in the shapes of the interface."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.limits import RECORD_HEADERS_MAX
from floodmark.record import Record

from node.http import doubled, timestamps
from node.http.headers_in import MALFORMED, HeadersIn, Pairs
from node.http.json_guard import check_text, check_value
from node.http.media import Media, body_media
from node.http.query import OFFSET_MAX, number
from node.metadata.levels import BATCH_FORMAT_2
from node.outcomes import needs_level

TRACE: Final = "traceparent"
"""A request's trace becomes a header of its records."""
_HEADER_PREFIX: Final = b"record-header-"
_TRACE_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_ANY = msgspec.msgpack.Decoder()
_TO_JSON = msgspec.json.Encoder()
_PACKED_PER_TEXT: Final = 9
"""No value has more bytes of MessagePack than this for each byte of its JSON: a number of 64 bits has."""


class _RecordIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One record of a body. In MessagePack ``value`` is any value, and a binary one is opaque bytes.

    A member that is null says as little as none, but it is there, and counted (``doubled``).
    """

    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value_b64: bytes | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    key_b64: bytes | msgspec.UnsetType | None = msgspec.UNSET
    tombstone: bool | msgspec.UnsetType | None = msgspec.UNSET
    headers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    headers_list: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timestamp: int | str | msgspec.UnsetType | None = msgspec.UNSET
    partition: int | msgspec.UnsetType | None = msgspec.UNSET


class _Envelope(_RecordIn, forbid_unknown_fields=True, gc=False):
    """``{"records": [...]}``, or one bare record."""

    records: list[_RecordIn] | None = None


_JSON = msgspec.json.Decoder(_Envelope)
_JSON_LINE = msgspec.json.Decoder(_RecordIn)
_MSGPACK = msgspec.msgpack.Decoder(_Envelope)


class RecordHead(Protocol):
    """The headers that a request's records may take something from."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, without regard to case."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came."""


class Incoming(NamedTuple):
    """A record and the partition that it asks for, if any."""

    record: Record
    partition: int | None


class Reading(NamedTuple):
    """What decides about records besides their body."""

    now_ms: int
    record_bytes_max: int
    batch_format: int = 1
    """The highest that the cluster's feature level takes."""


def read_records(head: RecordHead, media: Media, body: bytes, reading: Reading) -> list[Incoming]:
    """The records of ``body``, each checked. Raises ``InvalidRequest``, ``TooLarge``.

    All objects of the body are built first, so it must not be heavy (``body_weight.py``), or counted before.
    """
    headers = HeadersIn()
    if media is Media.BYTES:
        found = [_raw_record(head, body, reading)]
    elif media is Media.MSGPACK:
        items = _items(_decode(_MSGPACK, body))
        found = [
            _from_msgpack(item, headers.of_msgpack(item.headers, item.headers_list), reading)
            for item in items
        ]
        doubled.check_msgpack(body)
    else:
        check_text(body)
        if media is Media.NDJSON:
            items, envelopes = _lines(body), 0
        else:
            envelope = _decode(_JSON, body)
            items, envelopes = _items(envelope), int(envelope.records is not None)
        found = [
            _from_json(item, headers.of_json(item.headers, item.headers_list), reading) for item in items
        ]
        doubled.check_json(body, items, [item.record for item in found], envelopes, headers)
    if not found:
        raise InvalidRequest("there is no record in the body")
    trace = head.headers.get(TRACE)
    if trace is None or _TRACE_FORM.fullmatch(trace) is None:
        return found
    return _traced(found, trace, headers.left, reading)


def media_of(head: RecordHead) -> Media:
    """What a body is. Raises ``InvalidRequest`` when headers say what the body has to say itself."""
    media = body_media(head.headers.get("Content-Type"))
    if media is not Media.BYTES:
        for name, _ in head.raw_headers:
            if name[:7].lower() == b"record-":
                raise InvalidRequest(
                    f"{name.decode()} belongs to a raw value (application/octet-stream); "
                    "what is said of these records is in the body"
                )
    return media


def _lines(body: bytes) -> list[_RecordIn]:
    try:
        return _JSON_LINE.decode_lines(body)
    except MALFORMED as error:
        raise InvalidRequest(f"a line is no record: {error}") from error


def _decode(decoder: Any, body: bytes) -> _Envelope:
    try:
        return decoder.decode(body)  # type: ignore[no-any-return]
    except MALFORMED as error:
        raise InvalidRequest(f'the body is neither a record nor {{"records": [...]}}: {error}') from error


def _items(envelope: _Envelope) -> list[_RecordIn]:
    if envelope.records is None:
        return [envelope]
    if any(getattr(envelope, name) not in (None, msgspec.UNSET) for name in _RecordIn.__struct_fields__):
        raise InvalidRequest('a body has either "records" or one record\'s own members')
    return envelope.records


def _from_json(item: _RecordIn, headers: Pairs | None, reading: Reading) -> Incoming:
    if item.tombstone is True:
        return _tombstone(item, headers, reading)
    if item.value is msgspec.UNSET:
        return _incoming(item, _opaque(item), headers, reading, is_json=False)
    if item.value_b64 is not msgspec.UNSET:
        raise InvalidRequest('a record has either "value" or "value_b64"')
    value = bytes(item.value)
    if len(value) <= reading.record_bytes_max:  # else the record is refused anyway, without a second look
        check_value(value)
    return _incoming(item, value, headers, reading, is_json=True)


def _from_msgpack(item: _RecordIn, headers: Pairs | None, reading: Reading) -> Incoming:
    if item.tombstone is True:
        return _tombstone(item, headers, reading)
    if item.value is msgspec.UNSET:
        return _incoming(item, _opaque(item), headers, reading, is_json=False)
    packed = memoryview(item.value)
    if len(packed) > _PACKED_PER_TEXT * reading.record_bytes_max + _PACKED_PER_TEXT:
        raise TooLarge(
            f"a value has {len(packed)} bytes of MessagePack; this topic allows records of "
            f"{reading.record_bytes_max} bytes, their values as JSON",
            limit=reading.record_bytes_max,
        )
    try:
        value = _ANY.decode(packed)
        if isinstance(value, bytes):
            return _incoming(item, value, headers, reading, is_json=False)
        text = _TO_JSON.encode(value)
        if len(text) > reading.record_bytes_max:  # before anything slower
            return _incoming(item, text, headers, reading, is_json=True)
        # The standard library's encoder refuses what JSON does not have: NaN, binary, extension types.
        json.dumps(value, allow_nan=False)
        if msgspec.json.decode(text) != value:
            raise InvalidRequest("a value has map keys that are no strings")
    except MALFORMED as error:
        raise InvalidRequest(f"a value is no MessagePack: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"a value is neither binary nor what JSON can say: {error}") from error
    check_value(text)
    return _incoming(item, text, headers, reading, is_json=True)


def _tombstone(item: _RecordIn, headers: Pairs | None, reading: Reading) -> Incoming:
    if item.value is not msgspec.UNSET or item.value_b64 is not msgspec.UNSET:
        raise InvalidRequest("a tombstone has no value: leave one of the two out")
    return _incoming(item, None, headers, reading, is_json=False)


def _opaque(item: _RecordIn) -> bytes:
    if item.value_b64 is msgspec.UNSET:
        raise InvalidRequest(
            'a record needs a "value" (any JSON), a "value_b64" (bytes), or "tombstone": true (none)'
        )
    return item.value_b64


def _incoming(
    item: _RecordIn, value: bytes | None, headers: Pairs | None, reading: Reading, *, is_json: bool
) -> Incoming:
    key, key_b64, timestamp, partition = item.key, item.key_b64, item.timestamp, item.partition
    if key is None or key is msgspec.UNSET:
        named = None if key_b64 is msgspec.UNSET else key_b64
    elif key_b64 is None or key_b64 is msgspec.UNSET:
        named = key.encode()
    else:
        raise InvalidRequest('a record has either "key" or "key_b64"')
    record = Record(
        reading.now_ms if timestamp is None or timestamp is msgspec.UNSET else timestamps.parse(timestamp),
        named,
        value,
        is_json,
        headers,
    )
    record.check(reading.record_bytes_max)
    if reading.batch_format == 1:
        check_format_1(record)
    if partition is None or partition is msgspec.UNSET:
        return Incoming(record, None)
    if not 0 <= partition <= OFFSET_MAX:
        raise InvalidRequest(f"{partition} is no partition")
    return Incoming(record, partition)


def _raw_record(head: RecordHead, body: bytes, reading: Reading) -> Incoming:
    """One raw value: everything else comes from ``Record-...`` headers."""
    key: bytes | None = None
    key_text = head.headers.get("Record-Key")
    if key_text is not None:
        if "Record-Key-B64" in head.headers:
            raise InvalidRequest("a record has either Record-Key or Record-Key-B64")
        key = key_text.encode("utf-8", "surrogateescape")
    elif "Record-Key-B64" in head.headers:
        key = _base64(head.headers["Record-Key-B64"])
    time_text = head.headers.get("Record-Timestamp")
    partition = head.headers.get("Record-Partition")
    record = Record(
        reading.now_ms if time_text is None else timestamps.parse(time_text),
        key,
        body,
        False,  # noqa: FBT003  -- positional: this is the hot path
        _record_headers(head.raw_headers),
    )
    record.check(reading.record_bytes_max)
    if reading.batch_format == 1:
        check_format_1(record)
    wanted = None if partition is None else number(partition, "Record-Partition", highest=OFFSET_MAX)
    return Incoming(record, wanted)


def check_format_1(record: Record) -> None:
    """Raise ``FeatureLevelNeeded`` for what a batch of format 1 can not hold."""
    if record.value is None:
        raise needs_level("a tombstone", BATCH_FORMAT_2, BATCH_FORMAT_2 - 1)
    if record.pairs and not record.headers.is_plain:
        what = "a header that comes twice, or whose value is null or no text,"
        raise needs_level(what, BATCH_FORMAT_2, BATCH_FORMAT_2 - 1)


def _record_headers(raw: Iterable[tuple[bytes, bytes]]) -> Pairs | None:
    found: Pairs = []
    for name, value in raw:
        if name[:14].lower() == _HEADER_PREFIX:
            try:
                value.decode()
                found.append((name[14:].decode().lower(), value))
            except UnicodeDecodeError as error:
                raise InvalidRequest("a Record-Header-... is not UTF-8") from error
    return found or None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidRequest(f"Record-Key-B64 is no base64: {error}") from error


def _traced(found: list[Incoming], trace: str, headers_left: int, reading: Reading) -> list[Incoming]:
    """With the request's trace among their headers, where there is room for it."""
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
