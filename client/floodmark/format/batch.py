"""The record batch: the unit that producers send, nodes replicate and store, and consumers receive.

A batch is made once, by the producer, and never encoded again: its checksums are end to end. Its header is
described in ``batch_header.py``. A MessagePack array of ``Record`` arrays follows, compressed as the header's
``codec`` says, with nil in place of each removed record, so that the others keep their places.

A cluster accepts format 2 from feature level 2 on. Format 1 stays readable forever. It has no nil timestamp,
value or header value, no removed record, and no repeated header name (headers are a map of texts).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, cast

import google_crc32c
import msgspec

from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.format import compression, packed_heads
from floodmark.format.batch_header import (
    CODEC_NONE,
    CODEC_ZSTD,
    CODECS,
    HEADER_BYTES,
    MAGIC,
    MAGIC_2,
    NO_PRODUCER,
    NO_TIMESTAMP,
    BatchFlag,
    BatchHeader,
    ProducerKind,
    check_producer,
    decode_header,
    decode_stored_header,
    header_crc,
    numbered_id_of,
    producer_id_of,
    unlike,
)
from floodmark.format.headers import texts_of
from floodmark.format.limits import (
    BATCH_BYTES_MAX,
    BATCH_HEADERS_MAX,
    BATCH_RAW_BYTES_MAX,
    BATCH_RECORDS_MAX,
)
from floodmark.format.record import Record

__all__ = [
    "CODEC_NONE",
    "CODEC_ZSTD",
    "HEADER_BYTES",
    "MAGIC",
    "MAGIC_2",
    "NO_PRODUCER",
    "UNDECODABLE",
    "BatchFlag",
    "BatchHeader",
    "ProducerKind",
    "check_header_count",
    "decode",
    "decode_header",
    "decode_records",
    "decode_stored_header",
    "encode",
    "encode_with_header",
    "numbered_id_of",
    "producer_id_of",
    "restamp",
    "undecodable",
    "unlike",
    "unpacked",
]

_CRC_PIECE_BYTES: Final = 64 << 10
_CRC_FROM: Final = 12
_FEW_HEADERS_BYTES: Final = 2 * BATCH_HEADERS_MAX
"""A batch of fewer bytes cannot hold more headers than are allowed."""

_AFTER_CRC = struct.Struct("<BBHIIqq16sIIQ")
_PREFIX = struct.Struct("<4sII")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record | None])
_ANY = msgspec.msgpack.Decoder()
UNDECODABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def encode(
    records: Sequence[Record | None],
    *,
    codec: int = CODEC_NONE,
    producer_id: bytes = NO_PRODUCER,
    producer_epoch: int = 0,
    sequence: int = 0,
    format: int = 1,  # noqa: A002 - the field's own name
    producer_kind: ProducerKind | None = None,
    transactional: bool = False,
) -> bytes:
    """Pack records into one batch; None stands for a removed one. ``producer_kind`` is NAMED by default.

    Raises ``InvalidBatch`` if empty or if format 1 cannot hold it; ``TooLarge`` above a cap.
    """
    return _made(records, codec, producer_id, producer_epoch, sequence, format, producer_kind, transactional)[
        0
    ]


def encode_with_header(
    records: Sequence[Record | None],
    *,
    codec: int = CODEC_NONE,
    producer_id: bytes = NO_PRODUCER,
    producer_epoch: int = 0,
    sequence: int = 0,
    format: int = 1,  # noqa: A002 - the field's own name
    producer_kind: ProducerKind | None = None,
    transactional: bool = False,
) -> tuple[bytes, BatchHeader]:
    """The batch that ``encode`` makes, and its header as ``decode_header`` reads it, without reading it.

    Raises what either of the two raises.
    """
    batch, header = _made(
        records, codec, producer_id, producer_epoch, sequence, format, producer_kind, transactional
    )
    if format > 1:
        check_producer(header.producer_kind, header.flags, producer_id, producer_epoch, sequence)
    return batch, header


def _made(
    records: Sequence[Record | None],
    codec: int,
    producer_id: bytes,
    producer_epoch: int,
    sequence: int,
    version: int,
    producer_kind: ProducerKind | None,
    transactional: bool,  # noqa: FBT001 - as the two above pass it on
) -> tuple[bytes, BatchHeader]:
    if not 1 <= len(records) <= BATCH_RECORDS_MAX:
        raise InvalidBatch(f"a batch has 1 to {BATCH_RECORDS_MAX} records, not {len(records)}")
    if codec not in CODECS:
        raise InvalidBatch(f"unknown codec {codec}; 0 (none) and 1 (zstd) are known")
    if producer_kind is None or version == 1:
        producer_kind = ProducerKind.NONE if producer_id == NO_PRODUCER else ProducerKind.NAMED
    if version == 1:
        kind = flags = 0
        raw = _ENCODER.encode(_as_format_1(records))
    else:
        kind, flags = int(producer_kind), int(BatchFlag.TRANSACTIONAL) if transactional else 0
        raw = _ENCODER.encode(_as_format_2(records))
    if len(raw) > BATCH_RAW_BYTES_MAX:
        raise TooLarge(f"a batch of {len(raw)} bytes; at most {BATCH_RAW_BYTES_MAX} before compression")
    if len(raw) > _FEW_HEADERS_BYTES:
        check_header_count(sum([len(record.pairs) for record in records if record and record.pairs]))
    body = compression.compress(raw) if codec == CODEC_ZSTD else raw
    length = HEADER_BYTES + len(body)
    if length > BATCH_BYTES_MAX:
        raise TooLarge(f"a batch of {length} bytes; at most {BATCH_BYTES_MAX} are allowed")
    first, latest, missing = _times(records)
    if version == 1 and missing:
        raise InvalidBatch("a record has no timestamp: that needs feature level 2 of the cluster")
    flags |= missing
    records_crc = 0 if version == 1 else google_crc32c.value(body)
    try:
        rest = _AFTER_CRC.pack(
            codec,
            kind,
            flags,
            len(records),
            len(raw),
            first,
            latest,
            producer_id,
            producer_epoch,
            records_crc,
            sequence,
        )
    except struct.error as error:
        raise InvalidBatch(f"a timestamp, epoch or sequence is out of range: {error}") from error
    batch, crc = _sealed(version, length, rest, body)
    return batch, BatchHeader(
        length,
        codec,
        len(records),
        len(raw),
        first,
        latest,
        producer_id,
        producer_epoch,
        sequence,
        crc,
        crc if version == 1 else records_crc,
        producer_kind,
        version,
        flags,
    )


def _sealed(
    version: int, length: int, rest: bytes | bytearray, body: bytes | memoryview
) -> tuple[bytes, int]:
    """A batch from its parts (the header after the checksum, and the records), and the header's checksum."""
    if version == 1:
        crc = google_crc32c.extend(google_crc32c.value(bytes(rest)), bytes(body))
        return b"".join((_PREFIX.pack(MAGIC, length, crc), rest, body)), crc
    crc = google_crc32c.value(MAGIC_2 + rest)
    return b"".join((_PREFIX.pack(MAGIC_2, length, crc), rest, body)), crc


def _as_format_1(records: Sequence[Record | None]) -> Sequence[Record | None]:
    """The same records in format 1. Raises ``InvalidBatch`` for what it cannot hold."""
    try:
        there = cast(Sequence[Record], records)
        if not any([record.pairs or record.value is None for record in there]):  # noqa: C419 - half the time
            return records
    except AttributeError:
        raise InvalidBatch("a batch of format 1 cannot hold a removed record") from None
    if None in [record.value for record in there]:
        raise InvalidBatch("a record has no value: tombstones need feature level 2 of the cluster")
    return [_with_map(record) for record in there]


def _with_map(record: Record) -> Record:
    pairs = record.pairs
    if not pairs or isinstance(pairs, dict):
        return record
    texts = texts_of(pairs)
    if texts is None:
        raise InvalidBatch(f"{record.beyond_format_1()} needs feature level 2 of the cluster")
    return Record(record.timestamp, record.key, record.value, record.is_json, texts)


def _as_format_2(records: Sequence[Record | None]) -> Sequence[Record | None]:
    """The same records with their headers in format 2."""
    if not any([record and record.pairs for record in records]):  # noqa: C419 - half the time
        return records
    return [
        msgspec.structs.replace(record, pairs=list(record.headers.pairs))
        if record is not None and isinstance(record.pairs, dict)
        else record
        for record in records
    ]


def _times(records: Sequence[Record | None]) -> tuple[int, int, int]:
    """The first timestamp, the greatest one, and the flags for missing ones."""
    try:
        times = [record.timestamp for record in records]  # type: ignore[union-attr]
    except AttributeError:
        times = [None if record is None else record.timestamp for record in records]
    first = times[0]
    if None not in times:
        known = cast(list[int], times)
        return known[0], max(known), 0
    known = [time for time in times if time is not None]
    there = len(records) - records.count(None)
    flags = int(BatchFlag.HAS_REMOVED) if there < len(records) else 0
    flags |= int(BatchFlag.UNTIMED) if len(known) < there else 0
    return NO_TIMESTAMP if first is None else first, max(known, default=NO_TIMESTAMP), flags


def restamp(batch: bytes, *, producer_epoch: int, sequence: int) -> bytes:
    """The same records under another epoch and sequence: for a producer that must renumber its batches."""
    rest = bytearray(batch[12:HEADER_BYTES])
    struct.pack_into("<I", rest, 44, producer_epoch)
    struct.pack_into("<Q", rest, 52, sequence)
    return _sealed(1 if batch[:4] == MAGIC else 2, len(batch), rest, batch[HEADER_BYTES:])[0]


def decode(
    batch: bytes | memoryview, *, frame_crc: int | None = None, behind: bytes | memoryview = b""
) -> list[Record | None]:
    """The records of a stored batch, its checksums and count verified; None in place of a removed one.

    ``frame_crc`` is the checksum that the frame carries for the batch and the bytes ``behind`` it. The
    records do not refer to the buffer that ``batch`` may be a view of. Raises ``InvalidBatch``, ``TooNew``.
    """
    header = decode_stored_header(batch)
    return decode_records(unpacked(batch, header, frame_crc, behind), header)


def decode_records(packed: bytes | memoryview, header: BatchHeader) -> list[Record | None]:
    """The records in the result of ``unpacked``, or in a part of it. Raises ``InvalidBatch``, ``TooNew``."""
    try:
        return _DECODER.decode(packed)
    except UNDECODABLE as error:
        if header.format > 1 and (strange := _strange_record(packed)) is not None:
            raise TooNew(f"a record batch {strange}: start a newer Floodmark", unlike=strange) from None
        raise undecodable(error) from error


def _strange_record(packed: bytes | memoryview) -> str | None:
    """What this build does not know about a record in a batch with right checksums; None if it knows all."""
    try:
        found = [record for record in _ANY.decode(packed) if isinstance(record, list)]
    except UNDECODABLE:
        return None
    for record in found:
        if len(record) > len(Record.__struct_fields__):
            return f"has a record of {len(record)} fields, this build knows {len(Record.__struct_fields__)}"
        if len(record) > 3 and isinstance(record[3], int) and not isinstance(record[3], bool):
            return f"has a value of type {record[3]}, this build knows false (bytes) and true (JSON)"
    return None


def unpacked(
    batch: bytes | memoryview,
    header: BatchHeader,
    frame_crc: int | None = None,
    behind: bytes | memoryview = b"",
) -> bytes | memoryview:
    """The MessagePack of the records, ``raw_length`` bytes, the checksums and the count verified.

    For callers that decode it piece by piece (``batch_slices``). ``frame_crc`` and ``behind`` are as in
    ``decode``. Raises ``InvalidBatch``.
    """
    view = memoryview(batch)
    _check_crcs(view, header, frame_crc, behind)
    body: bytes | memoryview = view[HEADER_BYTES:]
    if header.codec == CODEC_ZSTD:
        body = compression.decompress(body, header.raw_length)
    elif len(body) != header.raw_length:
        raise InvalidBatch(f"raw_length says {header.raw_length} and the records have {len(body)} bytes")
    if packed_heads.array_length(body) != header.count:
        raise InvalidBatch(f"the batch claims {header.count} records and holds a different number")
    return body


def check_sums(batch: bytes | memoryview, header: BatchHeader) -> None:
    """The checksums alone, for a batch that was checked before it was sent here. Raises ``InvalidBatch``."""
    _check_crcs(memoryview(batch), header, None, b"")


def check_header_count(count: int) -> None:
    """Raise ``TooLarge`` if a batch's records have more headers in total than are allowed."""
    if count > BATCH_HEADERS_MAX:
        raise TooLarge(
            f"the records of one batch have {count} headers together; at most {BATCH_HEADERS_MAX} are "
            "allowed: send several smaller batches",
            limit=BATCH_HEADERS_MAX,
        )


def undecodable(error: Exception) -> InvalidBatch:
    """The error to raise for one of ``UNDECODABLE``."""
    return InvalidBatch(f"the records of the batch cannot be decoded: {error}")


def _check_crcs(
    view: memoryview, header: BatchHeader, frame_crc: int | None, behind: bytes | memoryview
) -> None:
    """The checksum function takes ``bytes`` only, so a view is copied piece by piece: small copies stay in
    the processor's cache, while one large copy needs new pages each time and costs more than all the rest.
    """
    body_at = _CRC_FROM if header.format == 1 else HEADER_BYTES
    whole, crc = google_crc32c.value(bytes(view[:body_at])), 0
    for at in range(body_at, len(view), _CRC_PIECE_BYTES):
        piece = bytes(view[at : at + _CRC_PIECE_BYTES])
        crc = google_crc32c.extend(crc, piece)
        if frame_crc is not None:
            whole = google_crc32c.extend(whole, piece)
    if crc != header.records_crc or (header.format > 1 and header_crc(view) != header.crc):
        raise InvalidBatch("the batch fails its CRC32C: it was damaged on its way, send it again")
    if frame_crc is not None and frame_crc != google_crc32c.extend(whole, bytes(behind)):
        raise InvalidBatch("the batch does not match the checksum of its frame")
