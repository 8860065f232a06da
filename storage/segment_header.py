"""The first 64 bytes of every segment file. All integers are little-endian.

     0  magic          4  "FMS1"
     4  crc32c         4  of bytes 8 to 64
     8  version        4  of the format: 1; a greater one is too new for this build
    12  reserved       4  zero
    16  base_index     8  Raft index of the first frame; the file is named after it
    24  base_term      8  term of the entry just before
    32  base_offset    8  offset of the first record
    40  base_position  8  log position of this header
    48  reserved      16  zero

The *log position* is a byte position in the whole log, segment headers included. It only grows along the
log, so that ``base_position`` of the next segment tells how long a sealed one must be, without reading it.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c
import msgspec

MAGIC: Final = b"FMS1"
VERSION: Final = 1
HEADER_BYTES: Final = 64

_HEADER = struct.Struct("<4sIIIQQQQ16s")
_AFTER_CRC = struct.Struct("<IIQQQQ16s")
_PREFIX = struct.Struct("<4sI")


class SegmentHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields of the diagram above."""

    base_index: int
    base_term: int
    base_offset: int
    base_position: int

    def encode(self) -> bytes:
        """The 64 bytes."""
        rest = _AFTER_CRC.pack(
            VERSION, 0, self.base_index, self.base_term, self.base_offset, self.base_position, bytes(16)
        )
        return _PREFIX.pack(MAGIC, google_crc32c.value(rest)) + rest


def decode(data: bytes) -> SegmentHeader | None:
    """The header, or None where no valid one of a known version stands."""
    if len(data) < HEADER_BYTES:
        return None
    magic, crc, version, zero, index, term, offset, position, zeros = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or zero or any(zeros):
        return None
    if google_crc32c.value(data[8:HEADER_BYTES]) != crc:
        return None
    return SegmentHeader(index, term, offset, position)


def unlike(data: bytes) -> str | None:
    """What of a whole header this build does not know, and what it knows; None when it knows all."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    _magic, crc, version, zero, *_, zeros = _HEADER.unpack_from(data)
    if google_crc32c.value(data[8:HEADER_BYTES]) != crc:
        return None
    if version != VERSION:
        return f"has version {version}, this build knows {VERSION}"
    if zero or any(zeros):
        return "uses reserved bytes, this build knows none of them"
    return None


def file_name(base_index: int) -> str:
    """The name of a segment file."""
    return f"{base_index:020d}.log"


def base_index_of(name: str) -> int | None:
    """The base index in a segment file's name; None for any other file."""
    stem, dot, suffix = name.partition(".")
    return int(stem) if dot and suffix == "log" and len(stem) == 20 and stem.isdecimal() else None
