"""The checkpoint: where the next scan starts, and the opaque state of the log's owner.

The file ``checkpoint`` is replaced atomically. It holds the same copy twice, the second one in its middle;
each fills whole sectors of 4096 bytes, so that one bad sector leaves the other. All integers are
little-endian.

     0  magic       4  "FMC1"
     4  crc32c      4  of bytes 8 to the end of ``state``
     8  resetting   1  1 while a reset is under way: what lies below ``position`` is not part of the log
     9  version     1  of the format: 0; a greater one is too new for this build
    10  reserved    6  zero
    16  position    8  log position just behind the frame ``index``
    24  index       8  the last frame that ``state`` covers
    32  term        8  its term
    40  offset      8  the offset that the next record gets
    48  length      8  of ``state``
    56  state          filled up with zeros to the end of the sector
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import google_crc32c
import msgspec

from storage.atomic_file import read_file, replace_file
from storage.errors import LogTooNew
from storage.filesystem import FileSystem

NAME: Final = "checkpoint"
MAGIC: Final = b"FMC1"
HEADER_BYTES: Final = 56
SECTOR_BYTES: Final = 4096

_HEADER = struct.Struct("<4sIB7sQQQQQ")
_AFTER_CRC = struct.Struct("<B7sQQQQQ")
_PREFIX = struct.Struct("<4sI")


class Checkpoint(msgspec.Struct, frozen=True):
    """The fields of the diagram above."""

    position: int
    index: int
    term: int
    offset: int
    state: bytes
    resetting: bool = False

    def encode(self) -> bytes:
        """The content of the file: both copies."""
        rest = _AFTER_CRC.pack(
            self.resetting, bytes(7), self.position, self.index, self.term, self.offset, len(self.state)
        )
        crc = google_crc32c.extend(google_crc32c.value(rest), self.state)
        padding = bytes(-(HEADER_BYTES + len(self.state)) % SECTOR_BYTES)
        copy = (_PREFIX.pack(MAGIC, crc), rest, self.state, padding)
        return b"".join(copy + copy)


def file_bytes(state: bytes) -> int:
    """How long the file with this state is."""
    copy = HEADER_BYTES + len(state)
    return 2 * (copy + -copy % SECTOR_BYTES)


class Stored(NamedTuple):
    """What the file holds: no checkpoint when there is none or both copies are damaged."""

    checkpoint: Checkpoint | None
    is_whole: bool
    """False when a copy is damaged. A file that is not there is whole."""


def unlike(data: bytes) -> str | None:
    """What of a whole copy this build does not know, and what it knows; None when it knows all.

    Where copies, checksum and length stand is the same in every version.
    """
    for at in (0, len(data) // 2):
        if len(data) - at < HEADER_BYTES or data[at : at + 4] != MAGIC:
            continue
        _magic, crc, resetting, zeros, *_, length = _HEADER.unpack_from(data, at)
        if google_crc32c.value(data[at + 8 : at + HEADER_BYTES + length]) != crc:
            continue
        if zeros[0]:
            return f"has version {zeros[0]}, this build knows 0"
        if resetting > 1 or any(zeros):
            return "uses reserved bits, this build knows none of them"
    return None


def decode(data: bytes) -> Stored:
    """What the content of a file means."""
    copies = [_decode_copy(data, at) for at in (0, len(data) // 2)]
    return Stored(copies[0] or copies[1], None not in copies)


def _decode_copy(data: bytes, at: int) -> Checkpoint | None:
    if len(data) - at < HEADER_BYTES:
        return None
    magic, crc, resetting, zeros, position, index, term, offset, length = _HEADER.unpack_from(data, at)
    end = at + HEADER_BYTES + length
    if magic != MAGIC or resetting > 1 or any(zeros) or end > len(data):
        return None
    if google_crc32c.value(data[at + 8 : end]) != crc:
        return None
    return Checkpoint(position, index, term, offset, data[at + HEADER_BYTES : end], bool(resetting))


def load(fs: FileSystem, folder: str) -> Stored:
    """What is stored in a folder.

    Without a checkpoint a log that still has its first frame is scanned from there, and the owner's state
    starts out empty: the frames lead to it. A log that was trimmed cannot be opened. Raises ``LogTooNew``.
    """
    data = read_file(fs, f"{folder}/{NAME}")
    if data is None:
        return Stored(None, is_whole=True)
    stored = decode(data)
    if not stored.is_whole and (strange := unlike(data)) is not None:
        raise LogTooNew(f"{folder}/{NAME}", strange)
    return stored


def save(fs: FileSystem, folder: str, checkpoint: Checkpoint) -> None:
    """Replace the stored checkpoint; durable on return."""
    replace_file(fs, folder, NAME, checkpoint.encode(), durable=True)


def remove(fs: FileSystem, folder: str) -> None:
    """Remove the stored checkpoint, durably; fine when there is none."""
    if fs.exists(f"{folder}/{NAME}"):
        fs.unlink(f"{folder}/{NAME}")
        fs.sync_folder(folder)
