"""The records in a frame, whatever its payload is made of: the one place that tells payload types apart."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Protocol

from floodmark.format import batch, kafka_batch, kafka_header
from floodmark.format.batch_header import BatchFlag, BatchHeader, ProducerKind, decode_stored_header
from floodmark.format.batch_slices import BatchSlices
from floodmark.format.frame import Frame, FrameFlag, FrameHeader, FrameKind, PayloadType
from floodmark.format.frame_attributes import split
from floodmark.format.record import Record


class PayloadForm(NamedTuple):
    """What a frame's header says about its payload besides the kind."""

    payload_type: int = PayloadType.IMPLIED
    flags: int = 0
    level: int = 0


IMPLIED: Final = PayloadForm()
_OF_FORMAT_2: Final = PayloadForm(PayloadType.BATCH_2, 0, 2)
_TRANSACTIONAL: Final = PayloadForm(PayloadType.BATCH_2, FrameFlag.TRANSACTIONAL, 2)
WITH_POSITION: Final = PayloadForm(PayloadType.BATCH_2, FrameFlag.ATTRIBUTES, 2)
"""A batch of format 2 and the position that goes with it. Who only reads records need not know of that."""
_OF_KAFKA: Final = PayloadForm(PayloadType.KAFKA_2, 0, 2)
_OF_KAFKA_TRANSACTIONAL: Final = PayloadForm(PayloadType.KAFKA_2, FrameFlag.TRANSACTIONAL, 2)
_CONTROL: Final = int(PayloadType.CONTROL)
_BATCH_2: Final = int(PayloadType.BATCH_2)
_KAFKA_2: Final = int(PayloadType.KAFKA_2)
_IS_TRANSACTIONAL: Final = int(BatchFlag.TRANSACTIONAL)
_UNTIMED: Final = int(BatchFlag.UNTIMED)
"""Plain numbers, because ``&`` of an enumeration's members takes as long as all the rest for a frame."""
_PRODUCER_KIND_AT: Final = 13
_NO_PRODUCER: Final = bytes([ProducerKind.NONE])
_FLAGS_AT: Final = 14
_FLAGS_AND_LATEST = struct.Struct("<H16xq")
"""From ``_FLAGS_AT`` on: the flags and the greatest timestamp of a batch."""


class Slices(Protocol):
    """The records of a batch a few at a time."""

    def take(self, first: int, last: int) -> list[Record | None]:
        """The records from number ``first`` on and before ``last``: at least one, perhaps not all.

        Empty after the last; None stands for a removed one. Raises ``InvalidBatch``, ``TooNew``.
        """


def form_of(header: BatchHeader) -> PayloadForm:
    """How a frame's header describes the batch with this header."""
    if header.format == 1:
        return IMPLIED
    is_transactional = header.flags & _IS_TRANSACTIONAL
    if header.format == kafka_header.FORMAT:
        return _OF_KAFKA_TRANSACTIONAL if is_transactional else _OF_KAFKA
    return _TRANSACTIONAL if is_transactional else _OF_FORMAT_2


def has_records(frame: Frame | FrameHeader) -> bool:
    """Whether it holds records for readers: control frames and others only take up offsets."""
    return frame.kind is FrameKind.RECORDS and frame.payload_type != _CONTROL


def may_have_producer(frame: Frame) -> bool:
    """For a frame that has records: False if its batch is certainly not of an idempotent producer. One byte
    tells, so that the header of most batches need not be decoded.
    """
    return frame.payload_type != _BATCH_2 or frame.payload[_PRODUCER_KIND_AT:_FLAGS_AT] != _NO_PRODUCER


def header_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> BatchHeader:
    """The header of the batch in a frame that has records. Raises ``InvalidBatch``, ``TooNew``."""
    if not frame.flags and frame.payload_type != _KAFKA_2:
        return decode_stored_header(payload)
    made, behind = split(frame, payload)
    if frame.payload_type == _KAFKA_2:
        return kafka_header.decode_stored_header(made, frame.payload_crc, behind).view()
    return decode_stored_header(made)


def records_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> list[Record | None]:
    """The records of a frame, from its first offset on, with None where one was removed; all verified.

    Raises ``InvalidBatch``, ``TooNew``.
    """
    if not has_records(frame):
        return []
    made, behind = split(frame, payload)
    if frame.payload_type == _KAFKA_2:
        return kafka_batch.decode(made, frame_crc=frame.payload_crc, behind=behind)
    return batch.decode(made, frame_crc=frame.payload_crc, behind=behind)


def slices_in(
    frame: Frame | FrameHeader, payload: bytes | memoryview, header: BatchHeader | None = None
) -> Slices:
    """The records of a frame that has some, to be decoded piece by piece; checksums are verified and the
    batch is decompressed here. ``header``: the result of ``header_in``, if it was called before. Raises
    ``InvalidBatch``, ``TooNew``.
    """
    made, behind = split(frame, payload)
    if frame.payload_type == _KAFKA_2:
        kafka = kafka_header.decode_stored_header(made, frame.payload_crc, behind)
        return kafka_batch.KafkaSlices(kafka_batch.unpacked(made, kafka, frame.payload_crc, behind), kafka)
    if header is None:
        header = decode_stored_header(made)
    return BatchSlices(batch.unpacked(made, header, frame.payload_crc, behind), header)


def max_time_in(frame: Frame | FrameHeader, payload: bytes | memoryview, at: int) -> int:
    """The greatest time that a search by time can find in a frame that has records, whose payload begins at
    ``payload[at]``. At least the batch's header must be there.
    """
    if frame.payload_type == _KAFKA_2:
        if len(payload) - at < kafka_header.HEADER_BYTES:
            return frame.append_time
        first, latest = kafka_header.times_in(payload, at)
        return max(latest, frame.append_time) if kafka_header.NONE in (first, latest) else latest
    if len(payload) - at < batch.HEADER_BYTES:
        return frame.append_time
    flags, latest = _FLAGS_AND_LATEST.unpack_from(payload, at + _FLAGS_AT)
    if flags & _UNTIMED and frame.payload_type:
        return max(int(latest), frame.append_time)
    return int(latest)


def time_of(record: Record, append_time: int) -> int:
    """The time that a search by time compares, milliseconds since the Unix epoch."""
    return append_time if record.timestamp is None else record.timestamp
