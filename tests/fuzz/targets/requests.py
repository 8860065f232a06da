"""What clients send inside of requests: bodies, headers of records, queries, cursors, ids of events."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from floodmark.errors import FeatureLevelNeeded, InvalidRequest, TooLarge, UnsupportedMedia
from floodmark.format import batch, batch_check
from floodmark.format.limits import RECORD_BYTES_MAX_DEFAULT
from multidict import CIMultiDict

from node.http import body_weight, event_id, query
from node.http.media import Media, body_media
from node.http.records_in import Reading, media_of, read_records
from node.service import cursor, timestamps
from tests.fuzz.target import Target

_MEDIA = (Media.JSON, Media.NDJSON, Media.MSGPACK)


class _Head(NamedTuple):
    headers: Mapping[str, str]
    raw_headers: Sequence[tuple[bytes, bytes]]


_NO_HEADERS = _Head({}, ())
_TRACED = _Head({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, ())


def bodies(data: bytes) -> None:
    """A body of records is refused as InvalidRequest, TooLarge or FeatureLevelNeeded, or its records make a
    batch that nodes accept. JSON comes out as Python reads it too. The first byte chooses what kind of body.
    """
    choice, body = data[:1] or b"\0", data[1:]
    number = choice[0]
    media = _MEDIA[number % 3]
    level = 1 + (number // 3) % 2
    head = _TRACED if number & 64 else _NO_HEADERS
    reading = Reading(1_000, RECORD_BYTES_MAX_DEFAULT, level, copies=bool(number & 128))
    body_weight.is_heavy(media, body)
    try:
        body_weight.check_count(media, body)
        found = read_records(head, media, body, reading)
    except (InvalidRequest, TooLarge, FeatureLevelNeeded):
        return
    records = [incoming.record for incoming in found]
    batch_check.check(batch.encode(records, format=level))
    for record in records:
        record.check(reading.record_bytes_max)
        if record.is_json and record.value is not None:
            json.loads(record.value)
    assert all(incoming.partition is None or incoming.partition >= 0 for incoming in found)


def headers(data: bytes) -> None:
    """Headers of a raw value (lines up to an empty one, then the value) make a record, or InvalidRequest,
    UnsupportedMedia, TooLarge or FeatureLevelNeeded.
    """
    head, _, body = data.partition(b"\n\n")
    raw = []
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and name.isascii():
            raw.append((name, value.strip()))
    given = CIMultiDict((name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in raw)
    for level in (1, 2):
        reading = Reading(1_000, RECORD_BYTES_MAX_DEFAULT, level)
        request = _Head(given, raw)
        try:
            media = media_of(request)
            if media is not Media.BYTES:
                continue
            found = read_records(request, media, body, reading)
        except (InvalidRequest, UnsupportedMedia, TooLarge, FeatureLevelNeeded):
            continue
        batch_check.check(batch.encode([found[0].record], format=level))


def queries(data: bytes) -> None:
    """Values of queries and numeric headers: within their bounds, or InvalidRequest (of media types also
    UnsupportedMedia). A cursor or id of an event that is read is written as one that means the same.
    """
    text = data.decode("utf-8", "replace")
    given = {"x": text, "acks": text, "mode": text}
    for read, lowest, highest in (
        (lambda: query.number(text, "x", highest=100), 0, 100),
        (lambda: query.capped(given, "x", default=5, cap=100), 1, 100),
        (lambda: query.duration_s(text, "x", cap=60.0), 0, 60),
        (lambda: query.flag(given, "x"), 0, 1),
        (lambda: query.is_copy(given), 0, 1),
    ):
        with contextlib.suppress(InvalidRequest):
            assert lowest <= read() <= highest
    for other in (query.acks_of, lambda all_: timestamps.text(timestamps.parse(all_["x"]))):
        with contextlib.suppress(InvalidRequest):
            other(given)
    with contextlib.suppress(InvalidRequest, UnsupportedMedia):
        body_media(text)
    with contextlib.suppress(InvalidRequest):
        found = cursor.decode(text)
        assert cursor.decode(cursor.encode(found.topic_id, found.offsets)) == found
        assert min(found.offsets, default=0) >= cursor.EARLIEST
    partition = text.split(":")[1] if text.count(":") == 2 else "0"
    number = int(partition) if partition.isascii() and partition.isdigit() and len(partition) < 10 else 0
    with contextlib.suppress(InvalidRequest):
        event = event_id.decode(text, number)
        assert event is None or event_id.decode(str(event), number) == event


def _body_seeds() -> Iterator[bytes]:
    one = {"value": {"a": [1, 2.5, None, "\u00e9"]}, "key": "k", "headers": {"h": "v"}, "timestamp": 5}
    many = {"records": [one, {"value_b64": "AAEC", "key_b64": "AA==", "partition": 1}, {"tombstone": True}]}
    listed = {"value": 1, "headers_list": [["a", None], ["a", "b"], ["c", {"b64": "AA=="}]]}
    page = {"records": [{"value": 1, "offset": 3, "append_time": 7}], "next_offset": 4}
    for level in (0, 3, 64, 128, 131):
        for given in (one, many, listed, page):
            yield bytes([level - level % 3 + (0 - (level - level % 3)) % 3]) + json.dumps(given).encode()
    for number in range(0, 256, 17):
        media = _MEDIA[number % 3]
        if media is Media.MSGPACK:
            packed = {**one, "value": b"bin"}
            yield bytes([number]) + msgspec.msgpack.encode({"records": [packed, {"value_json": "[1]"}]})
        elif media is Media.NDJSON:
            yield bytes([number]) + b'{"value":1}\n{"value":"x","key":null}\n'
        else:
            yield bytes([number]) + json.dumps(many).encode()


def _header_seeds() -> Iterator[bytes]:
    bytes_ = b"Content-Type: application/octet-stream\n"
    yield bytes_ + b"Record-Key: k\nRecord-Timestamp: 2026-01-31T10:00:00Z\nRecord-Partition: 3\n\nvalue"
    yield bytes_ + b"Record-Key-B64: AAE=\nRecord-Header-A: 1\nrecord-header-a: 2\n\nvalue"
    yield bytes_ + b"Record-Tombstone: true\nRecord-Timestamp: 17\n\n"
    yield bytes_ + b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n\nv"


def _query_seeds() -> Iterator[bytes]:
    yield from (b"17", b"500ms", b"2h", b"true", b"copy", b"leader", b"17:0:42", b"2026-01-31T10:00:00Z")
    yield from (b"application/json; charset=utf-8", b"application/vnd.floodmark.batch;v=1", b"0")
    yield cursor.encode(7, [1, -1, 1 << 40]).encode()


TARGETS = (
    Target("bodies", bodies, _body_seeds),
    Target("record_headers", headers, _header_seeds),
    Target("queries", queries, _query_seeds),
)
