"""Records to JSON, NDJSON, server-sent events and MessagePack.

A JSON value is returned with the very text that was sent; only in forms with one record per line do its line
feeds become spaces (in JSON they can only be between tokens). In MessagePack a JSON value becomes a native
one, and opaque bytes binary; a value with a number that MessagePack cannot hold, or a very large one, is
returned as its text in ``value_json``.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec
from floodmark.format.headers import text_or_bytes, texts_of
from floodmark.format.record import Record, headers_of

from node.http.exact import is_exact
from node.http.json_guard import is_json as is_json_text
from node.http.media import Media
from node.service import timestamps

_JSON = msgspec.json.Encoder()
_MSGPACK = msgspec.msgpack.Encoder()
_NATIVE_BYTES_MAX: Final = 256 << 10
"""A larger JSON value would hold up the event loop on its way through Python's objects: 1 MiB of empty arrays
takes a tenth of a second and 40 MiB."""


RecordEncoder = Callable[[int, int, str | int, Record], bytes]


def json_record(partition: int, offset: int, append_time: str | int, record: Record) -> bytes:
    """One record as a JSON object."""
    return b'{"partition":%d,"offset":%d,"timestamp":%b,"append_time":%b,%b}' % (
        partition,
        offset,
        json_timestamp(record.timestamp),
        _json_time(append_time),
        json_content(record.key, record.value, record.is_json, record.pairs),
    )


def json_content(
    key: bytes | None,
    value: bytes | None,
    is_json: bool,  # noqa: FBT001 - called for each record
    pairs: list[tuple[str, bytes | None]] | dict[str, str] | None,
) -> bytes:
    """A record's key, value and headers as members of a JSON object."""
    if key is None:
        key_member = b'"key":null'
    else:
        try:
            key_member = b'"key":' + _JSON.encode(key.decode())
        except UnicodeDecodeError:
            key_member = b'"key_b64":"%b"' % base64.b64encode(key)
    if value is None:
        value_member = b'"tombstone":true'
    elif is_json and is_json_text(value):
        value_member = b'"value":' + value
    else:
        value_member = b'"value_b64":"%b"' % base64.b64encode(value)
    return b"%b,%b%b" % (key_member, value_member, _json_headers(pairs) if pairs else b"")


def _json_headers(pairs: list[tuple[str, bytes | None]] | dict[str, str]) -> bytes:
    """An object where that loses nothing, else a list of names and values."""
    texts = texts_of(pairs)
    if texts is not None:
        return b',"headers":' + _JSON.encode(texts)
    return b',"headers_list":' + _JSON.encode(headers_of(pairs).listed())


def json_line(partition: int, offset: int, append_time: str | int, record: Record) -> bytes:
    """One record as a JSON object without line breaks."""
    line = json_record(partition, offset, append_time, record)
    if b"\n" in line or b"\r" in line:
        line = line.replace(b"\n", b" ").replace(b"\r", b" ")
    return line


def msgpack_record(partition: int, offset: int, append_time: str | int, record: Record) -> bytes:
    """One record as a MessagePack map, with the members of the JSON form."""
    shown: dict[str, Any] = {
        "partition": partition,
        "offset": offset,
        "timestamp": None if record.timestamp is None else timestamps.text(record.timestamp),
        "append_time": append_time,
    }
    try:
        shown["key"] = None if record.key is None else record.key.decode()
    except UnicodeDecodeError:
        shown["key"] = record.key
    if record.pairs:
        texts = texts_of(record.pairs)
        if texts is not None:
            shown["headers"] = texts
        else:
            shown["headers_list"] = [(name, text_or_bytes(value)) for name, value in record.headers.pairs]
    text = record.value
    if text is None:
        return _MSGPACK.encode({**shown, "tombstone": True})
    if not record.is_json or not is_json_text(text):
        return _MSGPACK.encode({**shown, "value": text})
    if len(text) > _NATIVE_BYTES_MAX:
        return _MSGPACK.encode({**shown, "value_json": text.decode()})
    try:
        value = msgspec.json.decode(text)
        if is_exact(text, value):
            return _MSGPACK.encode({**shown, "value": value})
    except (ValueError, RecursionError, OverflowError):
        pass
    return _MSGPACK.encode({**shown, "value_json": text.decode()})


def stream_item(media: Media, encoded: bytes, position: str) -> bytes:
    """One record as an item of a stream. ``position``: where a reader goes on after it."""
    if media is Media.EVENTS:
        return b"id: %b\ndata: %b\n\n" % (position.encode(), encoded)
    if media is Media.MSGPACK:
        return len(encoded).to_bytes(4, "big") + encoded
    return encoded + b"\n"


def stream_failure(media: Media, problem: dict[str, Any]) -> bytes:
    """The last item of a stream that ends with a problem: an event of its own, or ``{"error": problem}``."""
    if media is Media.EVENTS:
        return b"event: error\ndata: " + _JSON.encode(problem) + b"\n\n"
    if media is Media.MSGPACK:
        return stream_item(media, _MSGPACK.encode({"error": problem}), "")
    return stream_item(media, _JSON.encode({"error": problem}), "")


def stream_encoder(media: Media) -> RecordEncoder:
    """How a stream of this media type encodes a record."""
    return msgpack_record if media is Media.MSGPACK else json_line


@functools.lru_cache(maxsize=4096)
def json_timestamp(timestamp_ms: int | None) -> bytes:
    """The time of a record as a JSON value."""
    return b"null" if timestamp_ms is None else _json_time(timestamps.text(timestamp_ms))


@functools.lru_cache(maxsize=64)
def _json_time(text: str | int) -> bytes:
    """Cached: records appended together share one time, and records created together often do."""
    return b'"%b"' % text.encode() if isinstance(text, str) else b"%d" % text
