"""The first 64 bytes of every segment file. All integers are little-endian.

     0  magic          4  "FMS1"
     4  crc32c         4  of bytes 8 to 64
     8  version        4  of the format: 1 or 2; a greater one is too new for this build
    12  generation     2  how often it was compacted
    14  flags          2  1: gaps may stand in it
    16  base_index     8  Raft index of the first frame; the file is named after it
    24  base_term      8  term of the entry just before
    32  base_offset    8  offset of the first record
    40  base_position  8  log position of this header
    48  logical_bytes  8  how long it would be had nothing been removed; 0 where nothing was
    56  file_bytes     8  how long it is; 0 where nothing was removed

In version 1 generation, flags and the two lengths are zero. It is what is written where they all are.

The *log position* is a byte position in the whole log, segment headers included. It only grows along the
log, so that ``base_position`` of the next segment tells how long a sealed one must be, without reading it.
Positions never move: in a compacted segment that is its logical length, and the header tells the other one.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c
import msgspec

MAGIC: Final = b"FMS1"
VERSION: Final = 2
HEADER_BYTES: Final = 64
GAPS: Final = 1
"""Flag: gaps may stand in it, so that an index says nothing of how many frames stand before it."""
GENERATION_MAX: Final = (1 << 16) - 1

_HEADER = struct.Struct("<4sIIHHQQQQQQ")
_AFTER_CRC = struct.Struct("<IHHQQQQQQ")
_PREFIX = struct.Struct("<4sI")


class SegmentHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields of the diagram above."""

    base_index: int
    base_term: int
    base_offset: int
    base_position: int
    logical_bytes: int = 0
    file_bytes: int = 0
    generation: int = 0
    flags: int = 0

    @property
    def is_compacted(self) -> bool:
        """Whether something was removed: nothing is written to it, and cut from its end, any more."""
        return self.logical_bytes > 0

    @property
    def may_hold_gaps(self) -> bool:
        """Whether gaps may stand in it."""
        return bool(self.flags & GAPS)

    @property
    def version(self) -> int:
        """The lowest version of the format that can say all of it."""
        return 2 if self.logical_bytes or self.file_bytes or self.generation or self.flags else 1

    def leads_to(self, following: SegmentHeader) -> bool:
        """Whether the next segment's position can be that one; of what was not compacted its size decides."""
        return self.logical_bytes in (0, following.base_position - self.base_position)

    def size_before(self, following: SegmentHeader) -> int:
        """How many bytes the file must have when that segment is the next one."""
        return self.file_bytes if self.is_compacted else following.base_position - self.base_position

    def rewritten(self, following: SegmentHeader, file_bytes: int, *, generations: int) -> SegmentHeader:
        """Of the same segment with so many bytes, some of which are gaps'."""
        return msgspec.structs.replace(
            self,
            logical_bytes=following.base_position - self.base_position,
            file_bytes=file_bytes,
            generation=min(self.generation + generations, GENERATION_MAX),
            flags=self.flags | GAPS,
        )

    def encode(self) -> bytes:
        """The 64 bytes."""
        rest = _AFTER_CRC.pack(
            self.version,
            self.generation,
            self.flags,
            self.base_index,
            self.base_term,
            self.base_offset,
            self.base_position,
            self.logical_bytes,
            self.file_bytes,
        )
        return _PREFIX.pack(MAGIC, google_crc32c.value(rest)) + rest


def decode(data: bytes) -> SegmentHeader | None:
    """The header, or None where no valid one of a known version stands."""
    return None if unlike(data) is not None else _decode(data)


def unlike(data: bytes) -> str | None:
    """What of a whole header this build does not know, and what it knows; None when it knows all."""
    header = _decode(data)
    if header is None:
        return None
    version = int.from_bytes(data[8:12], "little")
    if not 1 <= version <= VERSION:
        return f"has version {version}, this build knows 1 to {VERSION}"
    if version < header.version:
        return "uses reserved bytes, this build knows none of them"
    if header.flags & ~GAPS:
        return f"has flags {header.flags:#04x}, this build knows {GAPS:#04x}"
    return None


def _decode(data: bytes) -> SegmentHeader | None:
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    _magic, crc, _version, generation, flags, index, term, offset, position, logical, size = (
        _HEADER.unpack_from(data)
    )
    if google_crc32c.value(data[8:HEADER_BYTES]) != crc:
        return None
    return SegmentHeader(index, term, offset, position, logical, size, generation, flags)


def file_name(base_index: int) -> str:
    """The name of a segment file."""
    return f"{base_index:020d}.log"


def base_index_of(name: str) -> int | None:
    """The base index in a segment file's name; None for any other file."""
    stem, dot, suffix = name.partition(".")
    return int(stem) if dot and suffix == "log" and len(stem) == 20 and stem.isdecimal() else None
