"""A consumed record as the HTTP API shows it, and as a row of a table."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from floodmark.consumer.consumed import ConsumedRecord

from cli.output import Column, Item

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def document_of(record: ConsumedRecord) -> Item:
    """The record with the API's keys. JSON values are embedded unchanged."""
    document: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": None if record.timestamp is None else time_text(record.timestamp),
        "append_time": time_text(record.append_time),
    }
    if record.key is not None:
        document.update(_text_or_base64("key", record.key))
    if record.value is None:
        document["tombstone"] = True
    elif record.is_json and is_json(record.value):
        # A line break in JSON text is white space, and one record must stay on one line.
        document["value"] = msgspec.Raw(record.value.translate(_LINE_BREAKS))
    else:
        document["value_b64"] = base64.b64encode(record.value).decode()
    headers = record.headers
    texts = headers.as_texts()
    if texts:
        document["headers"] = texts
    elif texts is None:
        document["headers_list"] = headers.listed()
    return document


def is_json(value: bytes) -> bool:
    """Whether a value is valid JSON: clients that make batches themselves may store an invalid one."""
    try:
        _ANY_JSON.decode(value)
        value.decode()
    except (ValueError, RecursionError):
        return False
    return True


def name_of(document: Item) -> str:
    """A record's place, as ``-o name`` prints it."""
    return f"{document['partition']}/{document['offset']}"


def time_text(milliseconds: int) -> str | int:
    """ISO 8601 in UTC; the plain number if it is out of the calendar's range."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return milliseconds
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text_or_base64(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": base64.b64encode(data).decode()}


def _value_text(document: Item) -> str:
    if document.get("tombstone"):
        return "(tombstone)"
    if "value" in document:
        return bytes(document["value"]).decode()
    raw = base64.b64decode(document["value_b64"])
    return raw.decode(errors="backslashreplace")


COLUMNS = (
    Column("Partition", lambda item: item["partition"], right=True),
    Column("Offset", lambda item: item["offset"], right=True),
    Column("Timestamp", lambda item: item["timestamp"]),
    Column("Append time", lambda item: item["append_time"], wide=True),
    Column("Headers", lambda item: item.get("headers", item.get("headers_list")), wide=True),
    Column("Key", lambda item: item.get("key", item.get("key_b64"))),
    Column("Value", _value_text),
)
