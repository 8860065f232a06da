"""Where a slice of a log ends, and where in a frame a moment begins."""

from __future__ import annotations

from typing import Final

from floodmark import frame
from floodmark.errors import InvalidBatch
from floodmark.frame_records import records_in, time_of

_LENGTH: Final = slice(8, 12)


def next_offset_behind(frames: bytes) -> int:
    """The offset behind the last of these whole frames; the lengths lead there, only the last is decoded."""
    position, last = 0, 0
    while position < len(frames):
        last = position
        length = int.from_bytes(frames[position + _LENGTH.start : position + _LENGTH.stop], "little")
        position += frame.HEADER_BYTES + length
    header = frame.decode_header(frames, last)
    assert header is not None, "a log answers with whole frames"
    return header.next_offset


def offset_reaching(item: frame.Frame, timestamp_ms: int) -> int:
    """The offset of the first record of a frame with a timestamp of at least ``timestamp_ms``.

    The frame's first offset where its batch can not be read: whoever reads on finds out.
    """
    try:
        records = records_in(item, item.payload)
    except InvalidBatch:
        return item.first_offset
    reaching = (
        number
        for number, record in enumerate(records)
        if record is not None and time_of(record, item.append_time) >= timestamp_ms
    )
    return item.first_offset + next(reaching, 0)
