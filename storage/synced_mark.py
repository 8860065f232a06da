"""The mark of how far the log was synced: evidence about its very last frames.

Frame headers tell of what lies before them; of the last sync nothing in the segments tells. So after each
sync its position goes into the file ``synced``, without a sync of its own: it survives the end of the
process at once, and a loss of power some seconds later. It may be old or missing, but never claims too
much: before the log is cut, the mark is lowered durably. Two copies of 32 bytes lie at bytes 0 and 512,
written in turn; all integers are little-endian.

     0  magic     4  "FMD1"; its last character is the format's version
     4  crc32c    4  of bytes 8 to 32
     8  version   8  counts the writes
    16  position  8  log position up to which all was durable
    24  index     8  the last frame before it
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import google_crc32c

from storage import magic
from storage.atomic_file import read_file
from storage.errors import LogTooNew
from storage.filesystem import FileSystem, write_all

NAME: Final = "synced"
MAGIC: Final = b"FMD1"
COPY_BYTES: Final = 32
COPY_DISTANCE: Final = 512

_COPY = struct.Struct("<4sIQQQ")
_AFTER_CRC = struct.Struct("<QQQ")
_PREFIX = struct.Struct("<4sI")


class Mark(NamedTuple):
    """All bytes below ``position``, up to frame ``last_index``, were durable."""

    position: int
    last_index: int


class SyncedMark:
    """The open file. ``note`` is called after every sync and costs one small write to the page cache."""

    def __init__(self, fs: FileSystem, folder: str) -> None:
        data = read_file(fs, f"{folder}/{NAME}") or b""
        self._version = max((version for version, _mark in _copies(data)), default=0)
        self._file = fs.open(f"{folder}/{NAME}", create=True)

    def note(self, mark: Mark) -> None:
        """Remember; failures do not matter."""
        try:
            self._write(mark)
        except OSError:
            return

    def lower(self, mark: Mark) -> None:
        """Both copies say ``mark``, durably on return. Raises ``OSError``."""
        self._write(mark)
        self._write(mark)
        self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, mark: Mark) -> None:
        self._version += 1
        rest = _AFTER_CRC.pack(self._version, mark.position, mark.last_index)
        copy = _PREFIX.pack(MAGIC, google_crc32c.value(rest)) + rest
        write_all(self._file, [copy], COPY_DISTANCE * (self._version % 2))


def load(fs: FileSystem, folder: str) -> Mark:
    """The newest valid copy; position 0 when there is none. Raises ``LogTooNew``."""
    data = read_file(fs, f"{folder}/{NAME}") or b""
    for at in (0, COPY_DISTANCE):
        strange = magic.unlike(MAGIC, data[at : at + COPY_BYTES])
        if strange is not None:
            raise LogTooNew(f"{folder}/{NAME}", strange)
    copies = _copies(data)
    return max(copies, default=(0, Mark(0, 0)))[1]


def remove(fs: FileSystem, folder: str) -> None:
    """Remove the file, durably; fine when there is none."""
    if fs.exists(f"{folder}/{NAME}"):
        fs.unlink(f"{folder}/{NAME}")
        fs.sync_folder(folder)


def _copies(data: bytes) -> list[tuple[int, Mark]]:
    """(version, mark) of each valid copy."""
    found = []
    for at in (0, COPY_DISTANCE):
        copy = data[at : at + COPY_BYTES]
        if len(copy) < COPY_BYTES:
            continue
        found_magic, crc, version, position, index = _COPY.unpack(copy)
        if found_magic == MAGIC and google_crc32c.value(copy[8:]) == crc:
            found.append((version, Mark(position, index)))
    return found
