"""The header of a record batch (``batch.py``): its producer, its times and its form.

All integers are little-endian. Format 2, which a cluster accepts from feature level 2 on:

     0  magic            4  "FMB2"; its last character is the format's version
     4  length           4  bytes of the whole batch, these 72 included
     8  crc32c           4  of bytes 0 to 4, then 12 to 72
    12  codec            1  0 none, 1 zstd
    13  producer_kind    1  see ``ProducerKind``
    14  flags            2  1 transactional, 2 has removed records, 4 has records without a timestamp
    16  count            4  records, removed ones included, at least 1
    20  raw_length       4  bytes of the records before compression
    24  first_timestamp  8  of the first record, milliseconds since the Unix epoch, signed; -2^63 for none
    32  max_timestamp    8  the greatest of all records', signed; -2^63 for none
    40  producer_id     16  as the kind says; zeros when not idempotent
    56  producer_epoch   4
    60  records_crc32c   4  of bytes 72 to the end
    64  sequence         8  the number of this batch, or of its first record, as the kind says
    72  records

Format 1 has "FMB1", a crc32c of bytes 12 to the end, and zeros at 13 to 16 and 60 to 64.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from typing import Final

import google_crc32c
import msgspec

from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.format.limits import BATCH_BYTES_MAX, BATCH_RAW_BYTES_MAX, BATCH_RECORDS_MAX

MAGIC: Final = b"FMB1"
MAGIC_2: Final = b"FMB2"
HEADER_BYTES: Final = 72
CODEC_NONE: Final = 0
CODEC_ZSTD: Final = 1
CODECS: Final = (CODEC_NONE, CODEC_ZSTD)
NO_PRODUCER: Final = bytes(16)
NO_TIMESTAMP: Final = -(1 << 63)
NUMBERED_EPOCH_MAX: Final = (1 << 15) - 1
RECORD_SEQUENCE_MAX: Final = (1 << 31) - 1
_CRC_FROM: Final = 12
_MAGICS: Final = frozenset({MAGIC, MAGIC_2})
_HEADER = struct.Struct("<4sIIBBHIIqq16sIIQ")
_FORM = struct.Struct("<4s8xBBH")
"""Magic, codec, producer kind, flags."""


class ProducerKind(enum.IntEnum):
    """How an idempotent producer's batches are told apart."""

    NONE = 0
    """Not idempotent."""
    NAMED = 1
    """The id is BLAKE2b-128 of a name; the sequence counts batches, from 0 on in each epoch."""
    NUMBERED = 2
    """The id is an int64, then zeros, and the epoch an int16; the sequence is an int32 that counts records,
    from 0 on in each epoch, and wraps from 2^31-1 to 0, like Kafka's."""


class BatchFlag(enum.IntFlag):
    """Properties of the records in a batch of format 2."""

    TRANSACTIONAL = 1
    """They count once a control frame has committed them."""
    HAS_REMOVED = 2
    """Some were removed: compaction leaves their places."""
    UNTIMED = 4
    """Some have no timestamp: the append time stands in where one is needed."""


_KINDS: Final = tuple(ProducerKind)
_TRANSACTIONAL: Final = int(BatchFlag.TRANSACTIONAL)
_FLAGS: Final = int(BatchFlag.TRANSACTIONAL | BatchFlag.HAS_REMOVED | BatchFlag.UNTIMED)


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
    """The checksum in the header: of the whole batch in format 1, else of the header."""
    records_crc: int
    """A checksum that identifies the records: their own in format 2, that of the whole batch in format 1."""
    producer_kind: ProducerKind = ProducerKind.NONE
    format: int = 1
    """``kafka_header.FORMAT`` for a Kafka record batch, whose ``codec`` is one of Kafka's numbers."""
    flags: int = 0

    @property
    def is_idempotent(self) -> bool:
        """Whether a producer's identity, epoch and sequence are given."""
        return self.producer_kind is not ProducerKind.NONE

    @property
    def producer_number(self) -> int | None:
        """The id of a numbered producer; None for others."""
        if self.producer_kind is ProducerKind.NUMBERED:
            return int.from_bytes(self.producer_id[:8], "little", signed=True)
        return None


def producer_id_of(name: str) -> bytes:
    """The 16 bytes that stand for a producer's name in a batch."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def numbered_id_of(number: int) -> bytes:
    """The 16 bytes that stand for a numbered producer in a batch."""
    return number.to_bytes(8, "little", signed=True) + bytes(8)


def decode_header(batch: bytes | memoryview) -> BatchHeader:
    """Read the header, checking its form and caps but not the checksums. Raises ``InvalidBatch``."""
    if len(batch) < HEADER_BYTES:
        raise InvalidBatch(f"a record batch has at least {HEADER_BYTES} bytes, this has {len(batch)}")
    (
        magic,
        length,
        crc,
        codec,
        kind,
        flags,
        count,
        raw_length,
        first,
        latest,
        name,
        epoch,
        records_crc,
        sequence,
    ) = _HEADER.unpack_from(batch)
    if magic not in _MAGICS:
        raise InvalidBatch("this is not a record batch: it starts with neither FMB1 nor FMB2")
    if length != len(batch):
        raise InvalidBatch(f"the batch claims {length} bytes and has {len(batch)}")
    if length > BATCH_BYTES_MAX:
        raise TooLarge(f"a batch of {length} bytes; at most {BATCH_BYTES_MAX} are allowed")
    if codec not in CODECS:
        raise InvalidBatch(f"unknown codec {codec}; 0 (none) and 1 (zstd) are known")
    if not 1 <= count <= BATCH_RECORDS_MAX:
        raise InvalidBatch(f"a batch has 1 to {BATCH_RECORDS_MAX} records, this claims {count}")
    if raw_length > BATCH_RAW_BYTES_MAX:
        raise TooLarge(f"a batch of {raw_length} bytes before compression; at most {BATCH_RAW_BYTES_MAX}")
    if magic == MAGIC:
        if kind or flags or records_crc:
            raise InvalidBatch("reserved bytes of the batch header are not zero")
        named = ProducerKind.NONE if name == NO_PRODUCER else ProducerKind.NAMED
        return BatchHeader(
            length, codec, count, raw_length, first, latest, name, epoch, sequence, crc, crc, named
        )
    check_producer(kind, flags, name, epoch, sequence)
    return BatchHeader(
        length,
        codec,
        count,
        raw_length,
        first,
        latest,
        name,
        epoch,
        sequence,
        crc,
        records_crc,
        _KINDS[kind],
        2,
        flags,
    )


def check_producer(kind: int, flags: int, name: bytes, epoch: int, sequence: int) -> None:
    """Check the producer fields of a format 2 header. Raises ``InvalidBatch``."""
    if flags & ~_FLAGS:
        raise InvalidBatch(f"the batch has unknown flags {flags & ~_FLAGS:#06x}")
    if kind == ProducerKind.NONE:
        if name != NO_PRODUCER or epoch or sequence or flags & _TRANSACTIONAL:
            raise InvalidBatch("a batch without a producer cannot have an epoch, a sequence or a transaction")
    elif kind == ProducerKind.NAMED:
        if name == NO_PRODUCER or flags & _TRANSACTIONAL:
            raise InvalidBatch("a batch of a named producer needs an id, and cannot be in a transaction")
    elif kind == ProducerKind.NUMBERED:
        if not 0 < int.from_bytes(name[:8], "little") < 1 << 63 or any(name[8:]):
            raise InvalidBatch("the id of a numbered producer must be an int64 above 0, then zeros")
        if epoch > NUMBERED_EPOCH_MAX or sequence > RECORD_SEQUENCE_MAX:
            raise InvalidBatch(
                f"a numbered producer's epoch is at most {NUMBERED_EPOCH_MAX}, "
                f"its sequence at most {RECORD_SEQUENCE_MAX}"
            )
    else:
        raise InvalidBatch(f"unknown producer kind {kind}; 0 (none), 1 (named) and 2 (numbered) are known")


def unlike(batch: bytes | memoryview) -> str | None:
    """What this build does not know in a batch's header, and what it knows; None if it knows all.

    The checksum is not checked. None also for what is not a record batch of any version.
    """
    if len(batch) < HEADER_BYTES:
        return None
    magic, codec, kind, flags = _FORM.unpack_from(batch)
    if magic == MAGIC_2 and codec in CODECS and kind < len(_KINDS) and not flags & ~_FLAGS:
        return None
    return _unlike(batch, magic)


def _unlike(batch: bytes | memoryview, magic: bytes) -> str | None:
    if magic[:3] != MAGIC[:3] or not b"1" <= magic[3:] <= b"9":
        return None
    if magic not in _MAGICS:
        return f"has format {magic.decode()}, this build knows FMB1 and FMB2"
    if batch[12] not in CODECS:
        return f"has codec {batch[12]}, this build knows 0 and 1"
    if magic == MAGIC:
        is_used = any(batch[13:16]) or any(batch[60:64])
        return "uses reserved bytes, this build knows none of them" if is_used else None
    if batch[13] >= len(_KINDS):
        return f"has producer kind {batch[13]}, this build knows 0 to {len(_KINDS) - 1}"
    unknown = int.from_bytes(batch[14:16], "little") & ~_FLAGS
    return f"has flags {unknown:#06x}, this build knows {_FLAGS:#06x}" if unknown else None


def decode_stored_header(batch: bytes | memoryview) -> BatchHeader:
    """Like ``decode_header``, for a batch that a node has stored.

    Raises ``TooNew`` if the header's checksum is right and a field has a value that this build does not
    know; else ``InvalidBatch``. From format 2 on the checksum covers the magic too, so that a flipped bit
    does not look like a newer format.
    """
    try:
        return decode_header(batch)
    except InvalidBatch:
        strange = unlike(batch)
        if strange is not None and header_crc(batch) == int.from_bytes(batch[8:_CRC_FROM], "little"):
            raise TooNew(f"a record batch {strange}: start a newer Floodmark", unlike=strange) from None
        raise


def header_crc(batch: bytes | memoryview) -> int:
    """What the checksum in the header should be: of the whole batch in format 1, else of the header."""
    if batch[:4] == MAGIC:
        return int(google_crc32c.value(bytes(batch[_CRC_FROM:])))
    return int(google_crc32c.value(bytes(batch[:4]) + bytes(batch[_CRC_FROM:HEADER_BYTES])))
