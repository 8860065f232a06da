"""State files on their way from one replica to another. Everything here waits for the disk: for threads.

A file that is received stands under a name of its own until it is whole. It outlives the process: whoever
opens it again checks its blocks, keeps those before the first bad one, and goes on behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import google_crc32c

from consensus.core.checkpoint_format import Reference
from storage import state_file
from storage.filesystem import File, FileSystem, write_all
from storage.state_file import (
    BadState,
    Header,
    check,
    decode_header,
    read_blocks,
    read_chunk,
)

NAME: Final = "state.incoming"


def read(file: File, expected: Reference, feed: Callable[[memoryview], None]) -> None:
    """Read a whole file. Raises ``BadState`` when it is not the one that is expected, ``LogTooNew``."""
    size = file.size()
    if size != expected.length:
        raise BadState(f"it has {size} bytes, not {expected.length}")
    crc = 0
    for position, raw, blocks in read_blocks(file, size):
        if position == 0:
            header = decode_header(raw, file.path)
            if (header.id, header.index) != (expected.id, expected.index):
                raise BadState("it is another file")
        crc = google_crc32c.extend(crc, raw)
        for block in blocks:
            feed(block)
    if crc != expected.crc:
        raise BadState("its checksum is not the one that was told")


class Incoming:
    """One that is received. The methods are called one after the other, in any thread."""

    def __init__(self, fs: FileSystem, folder: str, reference: Reference) -> None:
        self._fs = fs
        self._path = f"{folder}/{NAME}"
        self._reference = reference
        self._file: File | None = None
        self._position = 0

    def open(self) -> int:
        """How much of this very file is here already and whole; durable on return, all else cut off."""
        file = self._file = self._fs.open(self._path, create=True)
        self._position = self._known(file)
        # Written once more: a sync that failed in an earlier process may have left these bytes for synced.
        for position in range(0, self._position, _COPY_BYTES):
            part = file.pread(min(_COPY_BYTES, self._position - position), position)
            write_all(file, [part], position)
        file.truncate(self._position)
        file.sync()
        self._fs.sync_folder(self._path.rpartition("/")[0])
        return self._position

    def _known(self, file: File) -> int:
        expected, position = self._reference, 0
        end = min(file.size(), expected.length)
        while position < end:
            raw = read_chunk(file, position, end)
            try:
                if not raw:
                    break
                check(raw, position, expected.id)
            except BadState:
                break
            position += len(raw)
        return position

    def append(self, chunks: list[bytes]) -> int | None:
        """Write chunks behind what is there: how far it is durable then. None where they do not fit."""
        file, position, whole = self._file, self._position, []
        assert file is not None
        for raw in chunks:
            try:
                check(raw, position, self._reference.id)
            except BadState:
                break
            whole.append(raw)
            position += len(raw)
        if not whole or position > self._reference.length:
            return None
        write_all(file, whole, self._position)
        file.sync()
        self._position = position
        return position

    def load(self, feed: Callable[[memoryview], None]) -> bool:
        """Read all of it back; whether it is the file that was offered."""
        assert self._file is not None
        try:
            read(self._file, self._reference, feed)
        except (BadState, ValueError):
            return False
        return True


class Outgoing:
    """One that is sent. It may be read to its end though its name is gone."""

    def __init__(self, fs: FileSystem, path: str, reference: Reference, chunk_bytes: int) -> None:
        self._fs = fs
        self._chunk_bytes = chunk_bytes
        self._path = path
        self._reference = reference
        self._file: File | None = None

    def read(self, position: int) -> bytes:
        """The chunk that begins there. Raises ``BadState`` where it is damaged, ``OSError``."""
        if self._file is None:
            self._file = self._fs.open(self._path)
        raw = read_chunk(self._file, position, self._reference.length, self._chunk_bytes)
        if not raw:
            raise BadState(f"it ends at byte {position} of {self._reference.length}, or is damaged there")
        check(raw, position, self._reference.id)
        return raw


def header_of(fs: FileSystem, folder: str) -> Header | None:
    """Of what was being received when the process before ended; None where there is none that is whole."""
    if not fs.exists(f"{folder}/{NAME}"):
        return None
    return state_file.header_of(fs, f"{folder}/{NAME}")


_COPY_BYTES = 1 << 20
