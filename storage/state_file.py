"""A file that holds the state of one state machine as it was after one frame: for states that are too large
for a checkpoint. Written once, front to back, and never changed. All integers are little-endian.

     0  magic       4  "FMM1"
     4  crc32c      4  of bytes 8 to 64
     8  version     4  of the format: 1; a greater one is too new for this build
    12  reserved    4  zero
    16  id          8  random: names this very file, for no two replicas' files need be the same
    24  index       8  the last frame that the state covers
    32  term        8  its term
    40  offset      8  the offset that the next record gets
    48  reserved   16  zero
    64  blocks         each a length (4, at most 1 MiB), a crc32c (4), and so many bytes of the machine's own

The checksum of a block covers the file's id, the block's position and its bytes: what lies there of another
file, or of another place of this one, is not a block of it. Where the file ends stands with whoever names it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c

from storage.errors import LogTooNew
from storage.filesystem import File, FileSystem, write_all

SUFFIX: Final = ".state"
MAGIC: Final = b"FMM1"
VERSION: Final = 1
HEADER_BYTES: Final = 64
PREFIX_BYTES: Final = 8
BLOCK_BYTES_MAX: Final = 1 << 20
"""Of the machine's bytes in one block."""
READ_BYTES: Final = 256 << 10
"""What is read at a time by default; a block alone may be larger."""
ID_MAX: Final = (1 << 63) - 1

_HEADER = struct.Struct("<4sIII QQQQ 16s")
_AFTER_CRC = struct.Struct("<II QQQQ 16s")
_PREFIX = struct.Struct("<II")
_PLACE = struct.Struct("<QQ")


class BadState(Exception):
    """Bytes of a state file that are not what was written."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of the diagram above."""

    id: int
    index: int
    term: int
    offset: int

    def encode(self) -> bytes:
        """The first bytes of the file."""
        rest = _AFTER_CRC.pack(VERSION, 0, self.id, self.index, self.term, self.offset, bytes(16))
        return _PREFIX.pack(int.from_bytes(MAGIC, "little"), google_crc32c.value(rest)) + rest


def decode_header(data: bytes, what: str) -> Header:
    """Back from ``encode``. Raises ``BadState``, ``LogTooNew``; ``what`` names the file."""
    if len(data) < HEADER_BYTES:
        raise BadState("it ends within its header")
    magic, crc, version, reserved, *fields, zeros = _HEADER.unpack_from(data)
    if magic != MAGIC or crc != google_crc32c.value(data[8:HEADER_BYTES]):
        raise BadState("its header is damaged")
    if version > VERSION or reserved or any(zeros):
        unlike = f"has version {version}" if version > VERSION else "uses reserved bytes"
        raise LogTooNew(f"the header of {what}", f"{unlike}, this build knows version {VERSION}")
    if version != VERSION:
        raise BadState(f"its header has version {version}")
    return Header(*fields)


def header_of(fs: FileSystem, path: str) -> Header | None:
    """The header of a file that is there; None where it is damaged. Raises ``LogTooNew``, ``OSError``."""
    file = fs.open(path)
    try:
        return decode_header(file.pread(HEADER_BYTES, 0), path)
    except BadState:
        return None
    finally:
        file.close()


def file_name(index: int) -> str:
    """Of the file whose state covers all frames up to ``index``."""
    return f"{index:020d}{SUFFIX}"


def _crc(id_: int, position: int, data: bytes | memoryview) -> int:
    crc: int = google_crc32c.extend(google_crc32c.value(_PLACE.pack(id_, position)), bytes(data))
    return crc


class StateWriter:
    """Writes one file; nothing of it is durable before ``sync``."""

    def __init__(self, fs: FileSystem, path: str, header: Header) -> None:
        self._id = header.id
        self._file = fs.open(path, create=True)
        self._file.truncate(0)
        encoded = header.encode()
        self.length = write_all(self._file, [encoded], 0)
        self.crc: int = google_crc32c.value(encoded)
        """Of all bytes so far."""
        self._synced = 0

    def append(self, block: bytes) -> None:
        """Add one block."""
        assert 0 < len(block) <= BLOCK_BYTES_MAX, "a block has a byte, and at most a megabyte"
        prefix = _PREFIX.pack(len(block), _crc(self._id, self.length, block))
        self.length = write_all(self._file, [prefix, block], self.length)
        self.crc = google_crc32c.extend(google_crc32c.extend(self.crc, prefix), block)

    @property
    def unsynced(self) -> int:
        """Bytes written since the last sync."""
        return self.length - self._synced

    def sync(self) -> None:
        """Make durable what was written; it is not read soon."""
        self._file.sync()
        self._file.forget_cached(self._synced, self.length)
        self._synced = self.length

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def check(raw: bytes, position: int, id_: int) -> list[memoryview]:
    """The blocks in these bytes of a file, whole ones that begin at ``position``. Raises ``BadState``.

    Bytes from position 0 on begin with the header.
    """
    view = memoryview(raw)
    at = 0
    if position == 0:
        if decode_header(raw[:HEADER_BYTES], "a state file").id != id_:
            raise BadState("it is another file")
        at = HEADER_BYTES
    blocks = []
    while at < len(view):
        end = _end_of(view, at)
        if end is None or end > len(view):
            raise BadState(f"a block at byte {position + at} is not whole")
        block = view[at + PREFIX_BYTES : end]
        if _PREFIX.unpack_from(view, at)[1] != _crc(id_, position + at, block):
            raise BadState(f"the block at byte {position + at} is damaged")
        blocks.append(block)
        at = end
    return blocks


def _end_of(view: memoryview, at: int) -> int | None:
    """Where the block at ``at`` ends; None where its length is not here, or cannot be one."""
    if len(view) - at < PREFIX_BYTES:
        return None
    length, _ = _PREFIX.unpack_from(view, at)
    return at + PREFIX_BYTES + length if 0 < length <= BLOCK_BYTES_MAX else None


def read_chunk(file: File, position: int, end: int, size: int = READ_BYTES) -> bytes:
    """Whole blocks from ``position`` on (and the header before them), at most ``size`` bytes or one block.

    Without one where the file ends, or no length of a block stands. Nothing is checked but lengths.
    """
    start = HEADER_BYTES if position == 0 else 0
    while True:
        raw = file.pread(min(size, end - position), position)
        view, whole = memoryview(raw), start
        while (found := _end_of(view, whole)) is not None and found <= len(raw):
            whole = found
        if whole > start or found is None or len(raw) < size:
            return raw[:whole]
        size = found


def read_blocks(file: File, end: int) -> Iterator[tuple[int, bytes, list[memoryview]]]:
    """All of a file: (position, raw bytes, the blocks in them), a bounded piece at a time.

    Raises ``BadState`` where it is damaged or ends before ``end``, ``LogTooNew``.
    """
    header = decode_header(file.pread(HEADER_BYTES, 0), file.path)
    position = 0
    while position < end:
        raw = read_chunk(file, position, end)
        if not raw:
            raise BadState(f"it ends at byte {position} of {end}, or is damaged there")
        yield position, raw, check(raw, position, header.id)
        position += len(raw)
