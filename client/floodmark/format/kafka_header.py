"""The header of a Kafka record batch of format 2, as a frame of payload type ``KAFKA_2`` holds it.

All integers are big-endian:

     0  baseOffset            8  as the producer wrote it, 0; the real offsets are in the frame
     8  batchLength           4  bytes after this field
    12  partitionLeaderEpoch  4  as the producer wrote it, -1
    16  magic                 1  2
    17  crc                   4  CRC32C of bytes 21 to the end
    21  attributes            2  bits 0 to 2 codec, 3 LogAppendTime, 4 transactional, 5 control
    23  lastOffsetDelta       4  of the last record, removed ones included: offsets taken up, minus one
    27  baseTimestamp         8  milliseconds since the Unix epoch, signed; -1 for none
    35  maxTimestamp          8  the greatest of all records'; with LogAppendTime that of each
    43  producerId            8  -1 for none
    51  producerEpoch         2
    53  baseSequence          4  of the first record; an int32 that goes on from 2^31-1 at 0
    57  recordCount           4
    61  records                  compressed as the codec says

The first 16 bytes and the magic are outside of the checksum.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

import google_crc32c
import msgspec

from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.format import kafka_compression
from floodmark.format.batch_header import (
    NO_PRODUCER,
    NO_TIMESTAMP,
    NUMBERED_EPOCH_MAX,
    BatchFlag,
    BatchHeader,
    ProducerKind,
    numbered_id_of,
)
from floodmark.format.kafka_compression import CODECS
from floodmark.format.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX

HEADER_BYTES: Final = 61
MAGIC: Final = 2
CRC_FROM: Final = 21
FORMAT: Final = 0x102
"""``BatchHeader.format`` of such a batch: Kafka's format 2, not a number of our own formats."""
_CRC_AT: Final = 17
_MAGIC_AT: Final = 16
_ATTRIBUTES_AT: Final = 21
_LENGTH_AT: Final = 8
_BEFORE_LENGTH_BYTES: Final = 12
_HEADER = struct.Struct(">qiibIhiqqqhii")
_TIMES = struct.Struct(">qq")
_BASE_TIMESTAMP_AT: Final = 27
_CODEC_BITS: Final = 7
NONE: Final = -1
"""The value of a missing timestamp."""


class Attribute(enum.IntFlag):
    """The bits after those of the codec."""

    LOG_APPEND_TIME = 8
    """``maxTimestamp`` is the time of every record: when a broker appended them."""
    TRANSACTIONAL = 16
    CONTROL = 32
    """Written by a broker; it has no records for readers."""


_KNOWN: Final = int(Attribute.LOG_APPEND_TIME | Attribute.TRANSACTIONAL | Attribute.CONTROL) | _CODEC_BITS


class KafkaHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields, as in the diagram above. ``length``: bytes of the whole batch. ``raw_length``: upper bound
    on the bytes of the records before compression, exact if the codec tells it.
    """

    length: int
    crc: int
    attributes: int
    positions: int
    """Offsets that it takes up, those of removed records included."""
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int
    raw_length: int

    @property
    def codec(self) -> int:
        """Kafka's number of the compression."""
        return self.attributes & _CODEC_BITS

    @property
    def is_control(self) -> bool:
        """Whether it is a control batch: written by a broker, not shown to readers."""
        return bool(self.attributes & Attribute.CONTROL)

    @property
    def append_time(self) -> int | None:
        """The time of every record, if a broker has set it."""
        return self.max_timestamp if self.attributes & Attribute.LOG_APPEND_TIME else None

    def view(self) -> BatchHeader:
        """The same as a ``BatchHeader``. ``codec`` keeps Kafka's number."""
        first = self.base_timestamp if self.append_time is None else self.max_timestamp
        flags = BatchFlag.TRANSACTIONAL if self.attributes & Attribute.TRANSACTIONAL else 0
        flags |= BatchFlag.HAS_REMOVED if self.record_count < self.positions else 0
        flags |= BatchFlag.UNTIMED if NONE in (first, self.max_timestamp) else 0
        is_numbered = self.producer_id >= 0 and not self.is_control
        return BatchHeader(
            self.length,
            self.codec,
            self.positions,
            self.raw_length,
            NO_TIMESTAMP if first == NONE else first,
            NO_TIMESTAMP if self.max_timestamp == NONE else self.max_timestamp,
            numbered_id_of(self.producer_id) if is_numbered else NO_PRODUCER,
            self.producer_epoch if is_numbered else 0,
            self.base_sequence if is_numbered else 0,
            self.crc,
            self.crc,
            ProducerKind.NUMBERED if is_numbered else ProducerKind.NONE,
            FORMAT,
            flags,
        )


def decode_header(batch: bytes | memoryview) -> KafkaHeader:
    """Read the header, checking its form and caps but not the checksum. Raises ``InvalidBatch``,
    ``TooLarge``.
    """
    if len(batch) < HEADER_BYTES:
        raise InvalidBatch(f"a Kafka record batch has at least {HEADER_BYTES} bytes, this has {len(batch)}")
    (_, behind, _, magic, crc, attributes, last, base, latest, producer, epoch, sequence, count) = (
        _HEADER.unpack_from(batch)
    )
    length, attributes = behind + _BEFORE_LENGTH_BYTES, attributes & 0xFFFF
    if magic != MAGIC:
        raise InvalidBatch(f"a Kafka record batch of format {magic}; format {MAGIC} is known")
    if length != len(batch):
        raise InvalidBatch(f"the batch claims {length} bytes and has {len(batch)}")
    if length > BATCH_BYTES_MAX:
        raise TooLarge(f"a batch of {length} bytes; at most {BATCH_BYTES_MAX} are allowed")
    codec = attributes & _CODEC_BITS
    if codec not in CODECS:
        raise InvalidBatch(f"unknown codec {codec}; 0 (none), 1 (gzip) and 4 (zstd) are known")
    if attributes & ~_KNOWN:
        raise InvalidBatch(f"the batch has unknown attributes {attributes & ~_KNOWN:#06x}")
    if not 0 <= last < BATCH_RECORDS_MAX:
        raise InvalidBatch(f"a batch has 1 to {BATCH_RECORDS_MAX} records, this claims {last + 1}")
    if not 0 <= count <= last + 1:
        raise InvalidBatch(f"the batch claims {count} records at {last + 1} offsets")
    _check_producer(attributes, producer, epoch, sequence)
    body = memoryview(batch)[HEADER_BYTES:]
    raw_length = kafka_compression.grows_to(codec, body)
    return KafkaHeader(
        length, crc, attributes, last + 1, base, latest, producer, epoch, sequence, count, raw_length
    )


def _check_producer(attributes: int, producer: int, epoch: int, sequence: int) -> None:
    if attributes & Attribute.CONTROL:
        return
    if producer < 0:
        if attributes & Attribute.TRANSACTIONAL:
            raise InvalidBatch("a batch without a producer cannot belong to a transaction")
    elif not 0 <= epoch <= NUMBERED_EPOCH_MAX or sequence < 0:
        raise InvalidBatch(
            f"producer {producer} has epoch {epoch} and sequence {sequence}: neither may be below 0"
        )


def unlike(batch: bytes | memoryview) -> str | None:
    """What this build does not know in a batch's header, and what it knows; None if it knows all, and if the
    checksum is wrong: then it is damage.
    """
    if len(batch) < HEADER_BYTES:
        return None
    magic, attributes = batch[_MAGIC_AT], int.from_bytes(batch[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2], "big")
    codec, unknown = attributes & _CODEC_BITS, attributes & ~_KNOWN
    if magic == MAGIC and codec in CODECS and not unknown:
        return None
    end = int.from_bytes(batch[_LENGTH_AT:_BEFORE_LENGTH_BYTES], "big") + _BEFORE_LENGTH_BYTES
    stated = int.from_bytes(batch[_CRC_AT:CRC_FROM], "big")
    if end > len(batch) or google_crc32c.value(bytes(batch[CRC_FROM:end])) != stated:
        return None
    if magic != MAGIC:
        return f"has Kafka's format {magic}, this build knows {MAGIC}"
    if codec not in CODECS:
        return f"has Kafka's codec {codec}, this build knows 0 (none), 1 (gzip) and 4 (zstd)"
    return f"has Kafka's attributes {unknown:#06x}, this build knows {_KNOWN:#06x}"


def decode_stored_header(
    batch: bytes | memoryview, frame_crc: int | None = None, behind: bytes | memoryview = b""
) -> KafkaHeader:
    """Like ``decode_header``, for a batch that a node has stored.

    Raises ``TooNew`` if the checksum is right and a field has a value that this build does not know. The
    checksum does not cover the magic: another magic counts only if the frame's checksum (``frame_crc``, of
    the batch and what is ``behind`` it) is right, so that a flipped bit does not look like a newer format.
    """
    try:
        return decode_header(batch)
    except InvalidBatch:
        strange = unlike(batch)
        if strange is None or (batch[_MAGIC_AT] != MAGIC and not _is_framed(batch, frame_crc, behind)):
            raise
        raise TooNew(f"a record batch {strange}: start a newer Floodmark", unlike=strange) from None


def _is_framed(batch: bytes | memoryview, frame_crc: int | None, behind: bytes | memoryview) -> bool:
    return int(google_crc32c.extend(google_crc32c.value(bytes(batch)), bytes(behind))) == frame_crc


def times_in(payload: bytes | memoryview, at: int) -> tuple[int, int]:
    """The first and the greatest timestamp of the batch at ``payload[at]``, of which ``HEADER_BYTES`` are
    there; -1 where there is none.
    """
    base, latest = _TIMES.unpack_from(payload, at + _BASE_TIMESTAMP_AT)
    is_append_time = payload[at + _ATTRIBUTES_AT + 1] & Attribute.LOG_APPEND_TIME
    return latest if is_append_time else base, latest
