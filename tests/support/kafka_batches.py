"""Kafka record batches of format 2, also such as no client of Kafka makes."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Mapping, Sequence

import google_crc32c
import zstandard
from floodmark.format.record import Record

NO_TIME = -1


def _streamed(raw: bytes) -> bytes:
    """As clients write it that do not know the size when they begin, in blocks."""
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    half = len(raw) // 2
    return (
        stream.compress(raw[:half])
        + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        + stream.compress(raw[half:])
        + stream.flush()
    )


CODECS: Mapping[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, gzip.compress),
    "zstd": (4, zstandard.ZstdCompressor(level=3).compress),
    "zstd without its size": (4, _streamed),
}


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    left = number << 1 if number >= 0 else -(number << 1) - 1
    out = bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


def _sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def one_record(record: Record, place: int, base: int) -> bytes:
    """A record as it lies in a batch before compression."""
    time = NO_TIME if record.timestamp is None else record.timestamp
    headers = b"".join([_sized(name.encode()) + _sized(value) for name, value in record.headers.pairs])
    content = b"".join(
        (
            b"\0",
            varint(time - base),
            varint(place),
            _sized(record.key),
            _sized(record.value),
            varint(len(record.headers.pairs)),
            headers,
        )
    )
    return varint(len(content)) + content


def encode(
    records: Sequence[Record | None],
    *,
    codec: str = "none",
    attributes: int = 0,
    producer: tuple[int, int, int] = (-1, -1, -1),
    latest: int | None = None,
    raw: bytes | None = None,
) -> bytes:
    """A batch; None where compaction removed a record. ``latest``, ``raw``: another maximum, other records
    than follow from these."""
    times = [NO_TIME if one.timestamp is None else one.timestamp for one in records if one is not None]
    base = times[0] if times else NO_TIME
    if raw is None:
        raw = b"".join([one_record(one, place, base) for place, one in enumerate(records) if one is not None])
    number, compress = CODECS[codec]
    return sealed(
        compress(raw),
        attributes=number | attributes,
        last=len(records) - 1,
        times=(base, max(times, default=NO_TIME) if latest is None else latest),
        producer=producer,
        count=len(times),
    )


def sealed(
    body: bytes,
    *,
    attributes: int,
    last: int,
    times: tuple[int, int],
    producer: tuple[int, int, int] = (-1, -1, -1),
    count: int,
    magic: int = 2,
) -> bytes:
    """A batch of a header that says this, with a right checksum."""
    behind = struct.pack(">Hiqqqhii", attributes, last, *times, *producer, count) + body
    return struct.pack(">qiibI", 0, 9 + len(behind), -1, magic, google_crc32c.value(behind)) + behind


def resealed(batch: bytes | bytearray) -> bytes:
    """The same with a right checksum."""
    data = bytearray(batch)
    data[17:21] = struct.pack(">I", google_crc32c.value(bytes(data[21:])))
    return bytes(data)
