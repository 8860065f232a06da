"""The record batch: the unit that producers send, nodes replicate and store, and consumers receive.

A batch is made once, by the producer, and never encoded again: its checksum is end to end.
All integers are little-endian.

     0  magic            4  "FMB1"; its last character is the format's version
     4  length           4  bytes of the whole batch, these 72 included
     8  crc32c           4  of bytes 12 to the end
    12  codec            1  0 none, 1 zstd
    13  reserved         3  zero
    16  count            4  records, at least 1
    20  raw_length       4  bytes of the records before compression
    24  first_timestamp  8  of the first record, milliseconds since the Unix epoch, signed
    32  max_timestamp    8  the greatest of all records', signed
    40  producer_id     16  BLAKE2b-128 of the producer's name; zeros when not idempotent
    56  producer_epoch   4
    60  reserved         4  zero
    64  sequence         8  the number of this batch among its producer's to this partition, from 0
    72  records             a MessagePack array of ``Record`` arrays, compressed as ``codec`` says
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final

import google_crc32c
import msgspec

from floodmark import compression, packed_heads
from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.limits import (
    BATCH_BYTES_MAX,
    BATCH_HEADERS_MAX,
    BATCH_RAW_BYTES_MAX,
    BATCH_RECORDS_MAX,
)
from floodmark.record import Record

MAGIC: Final = b"FMB1"
HEADER_BYTES: Final = 72
CODEC_NONE: Final = 0
CODEC_ZSTD: Final = 1
NO_PRODUCER: Final = bytes(16)
_CODECS: Final = (CODEC_NONE, CODEC_ZSTD)
_CRC_FROM: Final = 12
_CRC_PIECE_BYTES: Final = 64 << 10
_FEW_HEADERS_BYTES: Final = 2 * BATCH_HEADERS_MAX
"""Fewer bytes than that hold no more headers than a batch may have."""

_HEADER = struct.Struct("<4sIIB3sIIqq16sIIQ")
_AFTER_CRC = struct.Struct("<B3sIIqq16sIIQ")
_PREFIX = struct.Struct("<4sII")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])
UNDECODABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class BatchHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields of a batch's header, as in the diagram above."""

    length: int
    codec: int
    count: int
    raw_length: int
    first_timestamp: int
    max_timestamp: int
    producer_id: bytes
    producer_epoch: int
    sequence: int
    crc: int
    """The checksum that the header claims: of all that is in the batch."""

    @property
    def is_idempotent(self) -> bool:
        """Whether a producer's name, epoch and sequence are given."""
        return self.producer_id != NO_PRODUCER


def producer_id_of(name: str) -> bytes:
    """The 16 bytes that stand for a producer's name in a batch."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def encode(
    records: Sequence[Record],
    *,
    codec: int = CODEC_NONE,
    producer_id: bytes = NO_PRODUCER,
    producer_epoch: int = 0,
    sequence: int = 0,
) -> bytes:
    """Pack records into one batch. Raises ``InvalidBatch`` when empty, ``TooLarge`` above a cap."""
    if not 1 <= len(records) <= BATCH_RECORDS_MAX:
        raise InvalidBatch(f"a batch has 1 to {BATCH_RECORDS_MAX} records, not {len(records)}")
    if codec not in _CODECS:
        raise InvalidBatch(f"unknown codec {codec}; 0 (none) and 1 (zstd) are known")
    raw = _ENCODER.encode(records)
    if len(raw) > BATCH_RAW_BYTES_MAX:
        raise TooLarge(f"a batch of {len(raw)} bytes; at most {BATCH_RAW_BYTES_MAX} before compression")
    if len(raw) > _FEW_HEADERS_BYTES:
        check_header_count(sum([len(record.headers) for record in records if record.headers]))
    body = compression.compress(raw) if codec == CODEC_ZSTD else raw
    length = HEADER_BYTES + len(body)
    if length > BATCH_BYTES_MAX:
        raise TooLarge(f"a batch of {length} bytes; at most {BATCH_BYTES_MAX} are allowed")
    first, latest = records[0].timestamp, max([record.timestamp for record in records])
    try:
        rest = _AFTER_CRC.pack(
            codec, bytes(3), len(records), len(raw), first, latest, producer_id, producer_epoch, 0, sequence
        )
    except struct.error as error:
        raise InvalidBatch(f"a timestamp, epoch or sequence is out of range: {error}") from error
    crc = google_crc32c.extend(google_crc32c.value(rest), body)
    return b"".join((_PREFIX.pack(MAGIC, length, crc), rest, body))


def restamp(batch: bytes, *, producer_epoch: int, sequence: int) -> bytes:
    """The same records under another epoch and sequence: for a producer that must number its batches anew."""
    rest = bytearray(batch[12:HEADER_BYTES])
    struct.pack_into("<IIQ", rest, 44, producer_epoch, 0, sequence)
    body = batch[HEADER_BYTES:]
    crc = google_crc32c.extend(google_crc32c.value(bytes(rest)), body)
    return b"".join((_PREFIX.pack(MAGIC, len(batch), crc), rest, body))


def decode_header(batch: bytes | memoryview) -> BatchHeader:
    """Read the header, checking its form and caps but not the checksum. Raises ``InvalidBatch``."""
    if len(batch) < HEADER_BYTES:
        raise InvalidBatch(f"a record batch has at least {HEADER_BYTES} bytes, this has {len(batch)}")
    magic, length, crc, codec, reserved, count, raw_length, first, latest, name, epoch, zero, sequence = (
        _HEADER.unpack_from(batch)
    )
    if magic != MAGIC:
        raise InvalidBatch("this is not a record batch: it does not start with FMB1")
    if length != len(batch):
        raise InvalidBatch(f"the batch claims {length} bytes and has {len(batch)}")
    if length > BATCH_BYTES_MAX:
        raise TooLarge(f"a batch of {length} bytes; at most {BATCH_BYTES_MAX} are allowed")
    if any(reserved) or zero:
        raise InvalidBatch("reserved bytes of the batch header are not zero")
    if codec not in _CODECS:
        raise InvalidBatch(f"unknown codec {codec}; 0 (none) and 1 (zstd) are known")
    if not 1 <= count <= BATCH_RECORDS_MAX:
        raise InvalidBatch(f"a batch has 1 to {BATCH_RECORDS_MAX} records, this claims {count}")
    if raw_length > BATCH_RAW_BYTES_MAX:
        raise TooLarge(f"a batch of {raw_length} bytes before compression; at most {BATCH_RAW_BYTES_MAX}")
    return BatchHeader(length, codec, count, raw_length, first, latest, name, epoch, sequence, crc)


def unlike(batch: bytes | memoryview) -> str | None:
    """What a batch says that this build does not know, and what it knows; None when it knows all.

    Its checksum is not looked at. What is no record batch of any version is None too.
    """
    magic = bytes(batch[:4])
    if len(batch) < HEADER_BYTES or magic[:3] != MAGIC[:3] or not b"1" <= magic[3:] <= b"9":
        return None
    if magic != MAGIC:
        return f"has format {magic.decode()}, this build knows FMB1"
    if batch[12] not in _CODECS:
        return f"has codec {batch[12]}, this build knows 0 and 1"
    if any(batch[13:16]) or any(batch[60:64]):
        return "uses reserved bytes, this build knows none of them"
    return None


def decode_stored_header(batch: bytes | memoryview) -> BatchHeader:
    """As ``decode_header``, of a batch that a node has stored.

    Raises ``TooNew`` where the checksum is right and the rest says what this build does not know; else
    ``InvalidBatch``. From format 2 on the checksum is of the magic too: a flipped bit makes no newer format.
    """
    try:
        return decode_header(batch)
    except InvalidBatch:
        strange = unlike(batch)
        magic = b"" if batch[:4] == MAGIC else bytes(batch[:4])
        crc = google_crc32c.extend(google_crc32c.value(magic), bytes(batch[_CRC_FROM:]))
        if strange is not None and crc == int.from_bytes(batch[8:_CRC_FROM], "little"):
            raise TooNew(f"a record batch {strange}: start a newer Floodmark", unlike=strange) from None
        raise


def decode(batch: bytes | memoryview, *, frame_crc: int | None = None) -> list[Record]:
    """The records of a stored batch, its checksum and count verified. Raises ``InvalidBatch``, ``TooNew``.

    ``frame_crc`` is what the frame around it says of all its bytes. Nothing of the records refers to the
    buffer that ``batch`` may be a view of.
    """
    try:
        return _DECODER.decode(unpacked(batch, decode_stored_header(batch), frame_crc))
    except UNDECODABLE as error:
        raise undecodable(error) from error


def unpacked(
    batch: bytes | memoryview, header: BatchHeader, frame_crc: int | None = None
) -> bytes | memoryview:
    """The MessagePack of the records, ``raw_length`` bytes, the checksums and the count verified.

    For those who decode it piece by piece (``batch_slices``). Raises ``InvalidBatch``.
    """
    view = memoryview(batch)
    _check_crcs(view, frame_crc)
    body: bytes | memoryview = view[HEADER_BYTES:]
    if header.codec == CODEC_ZSTD:
        body = compression.decompress(body, header.raw_length)
    elif len(body) != header.raw_length:
        raise InvalidBatch(f"raw_length says {header.raw_length} and the records have {len(body)} bytes")
    if packed_heads.array_length(body) != header.count:
        raise InvalidBatch(f"the batch claims {header.count} records and holds another number of them")
    return body


def check_header_count(count: int) -> None:
    """Raise ``TooLarge`` when a batch's records have more headers together than are allowed."""
    if count > BATCH_HEADERS_MAX:
        raise TooLarge(
            f"the records of one batch have {count} headers together; at most {BATCH_HEADERS_MAX} are "
            "allowed: send several smaller batches",
            limit=BATCH_HEADERS_MAX,
        )


def undecodable(error: Exception) -> InvalidBatch:
    """One of ``UNDECODABLE`` as what it means."""
    return InvalidBatch(f"the records of the batch can not be decoded: {error}")


def _check_crcs(view: memoryview, frame_crc: int | None) -> None:
    """The checksum takes ``bytes`` only. Small copies of a large view stay in the processor's cache and in
    memory that the process has; one large copy is made of new pages each time, and costs more than all else.
    """
    whole, crc = google_crc32c.value(bytes(view[:_CRC_FROM])), 0
    for at in range(_CRC_FROM, len(view), _CRC_PIECE_BYTES):
        piece = bytes(view[at : at + _CRC_PIECE_BYTES])
        crc = google_crc32c.extend(crc, piece)
        if frame_crc is not None:
            whole = google_crc32c.extend(whole, piece)
    if crc != int.from_bytes(view[8:_CRC_FROM], "little"):
        raise InvalidBatch("the batch fails its CRC32C: it was damaged on its way, send it again")
    if frame_crc is not None and frame_crc != whole:
        raise InvalidBatch("the batch is not the one that its frame was made for")
