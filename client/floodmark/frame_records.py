"""The records in a frame, whatever its payload is made of: the one place that tells payload types apart."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Protocol

from floodmark import batch, kafka_batch, kafka_header
from floodmark.batch_header import BatchFlag, BatchHeader, decode_stored_header
from floodmark.batch_slices import BatchSlices
from floodmark.frame import Frame, FrameFlag, FrameHeader, FrameKind, PayloadType
from floodmark.frame_attributes import split
from floodmark.record import Record


class PayloadForm(NamedTuple):
    """What a frame's header says of its payload beside the kind."""

    payload_type: int = PayloadType.IMPLIED
    flags: int = 0
    level: int = 0


IMPLIED: Final = PayloadForm()
_OF_FORMAT_2: Final = PayloadForm(PayloadType.BATCH_2, 0, 2)
_TRANSACTIONAL: Final = PayloadForm(PayloadType.BATCH_2, FrameFlag.TRANSACTIONAL, 2)
_OF_KAFKA: Final = PayloadForm(PayloadType.KAFKA_2, 0, 2)
_OF_KAFKA_TRANSACTIONAL: Final = PayloadForm(PayloadType.KAFKA_2, FrameFlag.TRANSACTIONAL, 2)
_FLAGS_AT: Final = 14
_MAX_TIMESTAMP_AT: Final = 32
_TIMESTAMP = struct.Struct("<q")


class Slices(Protocol):
    """The records of a batch a few at a time."""

    def take(self, first: int, last: int) -> list[Record | None]:
        """The records from number ``first`` on and before ``last``: at least one, perhaps not all.

        Empty behind the last; None stands for one that was removed. Raises ``InvalidBatch``, ``TooNew``.
        """


def form_of(header: BatchHeader) -> PayloadForm:
    """How a frame tells of the batch with this header."""
    if header.format == 1:
        return IMPLIED
    is_transactional = header.flags & BatchFlag.TRANSACTIONAL
    if header.format == kafka_header.FORMAT:
        return _OF_KAFKA_TRANSACTIONAL if is_transactional else _OF_KAFKA
    return _TRANSACTIONAL if is_transactional else _OF_FORMAT_2


def has_records(frame: Frame | FrameHeader) -> bool:
    """Whether there are records for readers in it: control frames and others only take up offsets."""
    return frame.kind is FrameKind.RECORDS and frame.payload_type != PayloadType.CONTROL


def header_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> BatchHeader:
    """The header of the batch in a frame that has records. Raises ``InvalidBatch``, ``TooNew``."""
    made, behind = split(frame, payload)
    if frame.payload_type == PayloadType.KAFKA_2:
        return kafka_header.decode_stored_header(made, frame.payload_crc, behind).view()
    return decode_stored_header(made)


def records_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> list[Record | None]:
    """The records of a frame, from its first offset on, with None where one was removed; all verified.

    Raises ``InvalidBatch``, ``TooNew``.
    """
    if not has_records(frame):
        return []
    made, behind = split(frame, payload)
    if frame.payload_type == PayloadType.KAFKA_2:
        return kafka_batch.decode(made, frame_crc=frame.payload_crc, behind=behind)
    return batch.decode(made, frame_crc=frame.payload_crc, behind=behind)


def slices_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> Slices:
    """The records of a frame that has some, to be decoded piece by piece; its checksums are verified, and it
    is decompressed, here. Raises ``InvalidBatch``, ``TooNew``.
    """
    made, behind = split(frame, payload)
    if frame.payload_type == PayloadType.KAFKA_2:
        kafka = kafka_header.decode_stored_header(made, frame.payload_crc, behind)
        return kafka_batch.KafkaSlices(kafka_batch.unpacked(made, kafka, frame.payload_crc, behind), kafka)
    header = decode_stored_header(made)
    return BatchSlices(batch.unpacked(made, header, frame.payload_crc, behind), header)


def max_time_in(frame: Frame | FrameHeader, payload: bytes | memoryview, at: int) -> int:
    """The greatest moment that a search by time can find in a frame that has records, whose payload begins at
    ``payload[at]``. As much of that as a batch's header is there, or all of it.
    """
    if frame.payload_type == PayloadType.KAFKA_2:
        if len(payload) - at < kafka_header.HEADER_BYTES:
            return frame.append_time
        first, latest = kafka_header.times_in(payload, at)
        return max(latest, frame.append_time) if kafka_header.NONE in (first, latest) else latest
    if len(payload) - at < batch.HEADER_BYTES:
        return frame.append_time
    latest = int(_TIMESTAMP.unpack_from(payload, at + _MAX_TIMESTAMP_AT)[0])
    if frame.payload_type and payload[at + _FLAGS_AT] & BatchFlag.UNTIMED:
        return max(latest, frame.append_time)
    return latest


def time_of(record: Record, append_time: int) -> int:
    """The moment that a search by time looks at, milliseconds since the Unix epoch."""
    return append_time if record.timestamp is None else record.timestamp
