"""Bodies of every form: as hostile as they can be made, and as large as they may be."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator

import google_crc32c
import msgspec
from floodmark.format import batch as codec
from floodmark.format import compression
from floodmark.format.limits import BATCH_HEADERS_MAX, BATCH_RECORDS_MAX
from floodmark.format.record import Record

from bench.callbacks.case import Case, Nodes, ask

_MIB = 1 << 20
_BODY = 16 * _MIB - 1024
_TINY = b'{"value":1}'
_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_MSGPACK = "application/vnd.msgpack"
_BYTES = "application/octet-stream"
_BATCH = "application/vnd.floodmark.batch;v=1"


def cases() -> Iterator[Case]:
    """All of them."""
    hostile = _records([_TINY] * (_BODY // (len(_TINY) + 1)))
    yield from _at_both("JSON, 1.4 million records", hostile, _JSON)
    yield from _at_both("JSON, 1.4 million records, gzip", gzip.compress(hostile), _JSON, encoding="gzip")
    yield from _at_both("NDJSON, 1.4 million records", b"\n".join([_TINY] * (_BODY // 12)), _NDJSON)
    packed = msgspec.msgpack.encode({"value": 1})
    count = _BODY // len(packed)
    yield from _at_both(
        "MessagePack, 2 million records",
        b"\x81\xa7records\xdd" + count.to_bytes(4, "big") + packed * count,
        _MSGPACK,
    )
    yield from _at_both("one record, 900,000 headers", _one_record(_names(900_000)), _JSON)
    yield from _at_both("one record, MessagePack, 700,000 headers", _packed_headers(700_000), _MSGPACK)
    yield from _at_both("1 MiB array value", b'{"value":[' + b"1," * (_MIB // 2 - 20) + b"1]}", _JSON)
    ones = msgspec.msgpack.encode({"value": [1] * (_MIB // 2)})
    yield from _at_both("512 KiB MessagePack array value", ones, _MSGPACK)
    brackets = b'"' + b'\\"[' * 330_000 + b'"'
    yield from _at_both("1 MB of brackets in a string", b'{"value":' + brackets + b"}", _JSON)
    many = _records([b'{"value":%b}' % brackets] * 15)
    yield from _at_both("15 of them, gzip", gzip.compress(many), _JSON, encoding="gzip")
    yield from _at_both("100,000 records, JSON", _records([_TINY] * BATCH_RECORDS_MAX), _JSON)
    yield from _at_both("1 MiB of records, JSON", _records([_TINY] * 87_000), _JSON)
    yield from _at_both("64 KiB of records, JSON", _records([_TINY] * 5_400), _JSON)
    keyed = _records([b'{"key":"%x","value":1}' % number for number in range(BATCH_RECORDS_MAX)])
    yield from _at_both("100,000 keyed records on the topic", keyed, _JSON, on_topic=True)
    large = _records([b'{"value":"%b"}' % (b"x" * 1000)] * 7_500)
    yield from _at_both("7 MB of 1 KB records, JSON", large, _JSON)
    yield from _at_both("7 MB of 1 KB records, JSON, gzip", gzip.compress(large), _JSON, encoding="gzip")
    yield from _batches()


def _batches() -> Iterator[Case]:
    rich = Record(1, b"k", b"[1,[2,[3]]]", is_json=True, pairs={f"h{number}": "v" for number in range(20)})
    yield from _at_both(
        "zstd batch, 100,000 records of 20 headers", _repeated(rich, BATCH_RECORDS_MAX), _BATCH
    )
    most = codec.encode([rich] * (BATCH_HEADERS_MAX // 20), codec=codec.CODEC_ZSTD)
    yield from _at_both("zstd batch, 10,000 records of 20 headers", most, _BATCH)
    tiny = [Record(1, None, b"1", is_json=True)] * BATCH_RECORDS_MAX
    yield from _at_both("batch, 100,000 records", codec.encode(tiny), _BATCH)
    yield from _at_both("batch, 100,000 records, on the topic", codec.encode(tiny), _BATCH, on_topic=True)
    yield from _at_both("zstd batch, 100,000 records", codec.encode(tiny, codec=1), _BATCH)
    zeros = [Record(1, None, bytes(_MIB - 100))] * 31
    yield from _at_both("zstd batch, 31 MiB of zeros", codec.encode(zeros, codec=1), _BATCH)
    values = [Record(1, None, b"[" + b"1," * 500_000 + b"1]", is_json=True)] * 7
    yield from _at_both("batch, 7 MB of JSON values", codec.encode(values), _BATCH)
    usual = [Record(1, None, bytes(1024))] * 1000
    yield from _at_both("batch, 1 MB of 1 KiB records", codec.encode(usual), _BATCH)
    yield from _at_both("8 MB of opaque value", bytes(_MIB - 100), _BYTES)


def _repeated(record: Record, count: int) -> bytes:
    """A batch that the client's own limits would not let through."""
    packed = b"\xdd" + count.to_bytes(4, "big") + msgspec.msgpack.encode(record) * count
    body = compression.compress(packed)
    header = bytearray(codec.encode([record], codec=codec.CODEC_ZSTD)[12 : codec.HEADER_BYTES])
    struct.pack_into("<II", header, 4, count, len(packed))
    crc = google_crc32c.value(bytes(header) + body)
    return struct.pack("<4sII", codec.MAGIC, codec.HEADER_BYTES + len(body), crc) + header + body


def _at_both(
    name: str, body: bytes, media: str, *, encoding: str | None = None, on_topic: bool = False
) -> Iterator[Case]:
    headers = {"Content-Type": media} | ({"Content-Encoding": encoding} if encoding else {})

    def at(which: str) -> Case:
        async def run(nodes: Nodes) -> str:
            base = nodes.leader if which == "leader" else nodes.follower
            path = nodes.topic_path if on_topic else nodes.partition_path
            return await ask(nodes, "POST", base + path, body=body, headers=headers)

        return Case(f"{name} ({len(body):,} bytes), {which}", run)

    yield at("leader")
    yield at("follower")


def _records(texts: list[bytes]) -> bytes:
    return b'{"records":[' + b",".join(texts) + b"]}"


def _names(count: int) -> bytes:
    return b",".join(b'"%x":""' % number for number in range(count))


def _one_record(headers: bytes) -> bytes:
    return b'{"value":1,"headers":{' + headers + b"}}"


def _packed_headers(count: int) -> bytes:
    return msgspec.msgpack.encode({"value": 1, "headers": {f"{number:x}": "" for number in range(count)}})
