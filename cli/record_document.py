"""A consumed record as the HTTP API shows it, and as a row of a table."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.queues.shapes import QueueRecord

from cli.output import Column, Item

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)
_OF_DELIVERIES = ("receipt", "deliveries", "visible_ms")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def document_of(record: ConsumedRecord) -> Item:
    """The record with the API's keys. JSON values are embedded unchanged."""
    document: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": None if record.timestamp is None else time_text(record.timestamp),
        "append_time": time_text(record.append_time),
    }
    return document | content_of(record)


def job_of(record: QueueRecord) -> Item:
    """A queue's record with the API's keys."""
    document: dict[str, Any] = {
        "receipt": record.receipt,
        "deliveries": record.deliveries,
        "visible_ms": record.visible_ms,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": None if record.timestamp is None else time_text(record.timestamp),
    }
    return document | content_of(record)


def dead_record_of(record: QueueRecord) -> Item:
    """A dead letter's record, as it is in its topic, with the API's keys."""
    document = job_of(record)
    return {name: value for name, value in document.items() if name not in _OF_DELIVERIES}


def content_of(record: ConsumedRecord | QueueRecord) -> Item:
    """Key, value and headers with the API's keys."""
    document: dict[str, Any] = {}
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


KEY = Column("Key", lambda item: item.get("key", item.get("key_b64")))
VALUE = Column("Value", _value_text)
_CONTENT = (
    Column("Headers", lambda item: item.get("headers", item.get("headers_list")), wide=True),
    KEY,
    VALUE,
)
COLUMNS = (
    Column("Partition", lambda item: item["partition"], right=True),
    Column("Offset", lambda item: item["offset"], right=True),
    Column("Timestamp", lambda item: item["timestamp"]),
    Column("Append time", lambda item: item["append_time"], wide=True),
    *_CONTENT,
)
JOB_COLUMNS = (
    Column("Deliveries", lambda item: item["deliveries"], right=True),
    Column("Partition", lambda item: item["partition"], right=True),
    Column("Offset", lambda item: item["offset"], right=True),
    Column("Timestamp", lambda item: item["timestamp"], wide=True),
    *_CONTENT,
    Column("Receipt", lambda item: item["receipt"]),
)
