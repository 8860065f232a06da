"""Where a slice of a log ends."""

from __future__ import annotations

from typing import Final

from floodmark import frame

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
