"""The records in a frame, whatever its payload is made of."""

from __future__ import annotations

from typing import Final, NamedTuple

from floodmark import batch
from floodmark.batch_header import BatchFlag, BatchHeader, decode_stored_header
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


def form_of(header: BatchHeader) -> PayloadForm:
    """How a frame tells of the batch with this header."""
    if header.format == 1:
        return IMPLIED
    return _TRANSACTIONAL if header.flags & BatchFlag.TRANSACTIONAL else _OF_FORMAT_2


def has_records(frame: Frame | FrameHeader) -> bool:
    """Whether there are records for readers in it: control frames and others only take up offsets."""
    return frame.kind is FrameKind.RECORDS and frame.payload_type != PayloadType.CONTROL


def header_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> BatchHeader:
    """The header of the batch in a frame that has records. Raises ``InvalidBatch``, ``TooNew``."""
    return decode_stored_header(split(frame, payload)[0])


def records_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> list[Record | None]:
    """The records of a frame, from its first offset on, with None where one was removed; all verified.

    Raises ``InvalidBatch``, ``TooNew``.
    """
    if not has_records(frame):
        return []
    made, behind = split(frame, payload)
    return batch.decode(made, frame_crc=frame.payload_crc, behind=behind)


def time_of(record: Record, append_time: int) -> int:
    """The moment that a search by time looks at, milliseconds since the Unix epoch."""
    return append_time if record.timestamp is None else record.timestamp
