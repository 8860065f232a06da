"""The checkpoint: where the next scan starts, and the opaque state of the log's owner.

The file ``checkpoint`` is replaced atomically. All integers are little-endian.

     0  magic       4  "FMC1"
     4  crc32c      4  of bytes 8 to the end
     8  resetting   1  1 while a reset is under way: what lies below ``position`` is not part of the log
     9  reserved    7  zero
    16  position    8  log position just behind the frame ``index``
    24  index       8  the last frame that ``state`` covers
    32  term        8  its term
    40  offset      8  the offset that the next record gets
    48  state       to the end
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c
import msgspec

from storage.atomic_file import read_file, replace_file
from storage.filesystem import FileSystem

NAME: Final = "checkpoint"
MAGIC: Final = b"FMC1"
HEADER_BYTES: Final = 48

_HEADER = struct.Struct("<4sIB7sQQQQ")
_AFTER_CRC = struct.Struct("<B7sQQQQ")
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
        """The content of the file."""
        rest = _AFTER_CRC.pack(self.resetting, bytes(7), self.position, self.index, self.term, self.offset)
        crc = google_crc32c.extend(google_crc32c.value(rest), self.state)
        return b"".join((_PREFIX.pack(MAGIC, crc), rest, self.state))


def decode(data: bytes) -> Checkpoint | None:
    """The checkpoint, or None when it is damaged."""
    if len(data) < HEADER_BYTES:
        return None
    magic, crc, resetting, zeros, position, index, term, offset = _HEADER.unpack_from(data)
    if magic != MAGIC or resetting > 1 or any(zeros) or google_crc32c.value(data[8:]) != crc:
        return None
    return Checkpoint(position, index, term, offset, data[HEADER_BYTES:], bool(resetting))


def load(fs: FileSystem, folder: str) -> Checkpoint | None:
    """The stored checkpoint; None when there is none or it is damaged.

    A damaged one is no reason to refuse: it only saves work. The log is then scanned from its first
    frame and the owner's state starts out empty: the owner rebuilds it from the frames it is shown.
    """
    data = read_file(fs, f"{folder}/{NAME}")
    return None if data is None else decode(data)


def save(fs: FileSystem, folder: str, checkpoint: Checkpoint) -> None:
    """Replace the stored checkpoint; durable on return."""
    replace_file(fs, folder, NAME, checkpoint.encode(), durable=True)


def remove(fs: FileSystem, folder: str) -> None:
    """Remove the stored checkpoint, durably; fine when there is none."""
    if fs.exists(f"{folder}/{NAME}"):
        fs.unlink(f"{folder}/{NAME}")
        fs.sync_folder(folder)
