"""The events of unsynced.py in a file, each written before what it tells of: they outlive the process.

A record is its length (4 bytes, little-endian) and MessagePack. A torn last one tells of something that did
not happen. What names stood for before they were replaced or removed is kept as hard links in ``graves``.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from storage.faulty.unsynced import Event, NamesSynced, Unsynced

NAME: Final = "unsynced"
GRAVES: Final = "graves"
_REWRITE_BYTES: Final = 1 << 20

_LENGTH = struct.Struct("<I")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class Trace:
    """The open file and the state it leads to. The caller sees to it that one thread at a time is here."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{NAME}"
        self._graves = f"{folder}/{GRAVES}"
        os.makedirs(self._graves, exist_ok=True)
        self.unsynced = Unsynced(_events(self._path))
        self._fd = -1
        self._rewrite()
        self._dead = max(map(int, os.listdir(self._graves)), default=0)

    def add(self, event: Event) -> None:
        """Note an event; what it tells of may happen from now on."""
        record = _framed(event)
        os.write(self._fd, record)
        graves = [named.grave for named in self.unsynced.names] if isinstance(event, NamesSynced) else []
        self.unsynced.take(event)
        self._size += len(record)
        for grave in set(graves).difference({"", *(named.grave for named in self.unsynced.names)}):
            self._exhume(grave)
        if self._size > self._limit:
            self._rewrite()

    def bury(self, path: str) -> str:
        """Keep what a name stands for now; the name of its grave, or "" when there is nothing to keep."""
        self._dead += 1
        grave = f"{self._graves}/{self._dead}"
        try:
            os.link(path, grave)
        except FileNotFoundError:
            return ""
        return grave

    def close(self) -> None:
        """Let go of the file; the trace stays."""
        os.close(self._fd)

    def _rewrite(self) -> None:
        """As short as can be, atomically; and no more graves than there must be."""
        content = b"".join(map(_framed, self.unsynced.events()))
        new = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        view = memoryview(content)
        while view:
            view = view[os.write(new, view) :]
        os.replace(f"{self._path}.new", self._path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = new, len(content)
        self._limit = _REWRITE_BYTES + 2 * len(content)
        needed = {named.grave for named in self.unsynced.names}
        for name in os.listdir(self._graves):
            if (grave := f"{self._graves}/{name}") not in needed:
                self._exhume(grave)

    def _exhume(self, grave: str) -> None:
        """Let go of what a name stood for. With its last name all that is known of a file goes: a filesystem
        that never uses inodes twice (tmpfs) would let the knowledge grow without end.
        """
        found = os.stat(grave)
        os.unlink(grave)
        if found.st_nlink == 1:
            self.unsynced.files.pop(found.st_ino, None)


def forget(folder: str) -> None:
    """Everything is durable now."""
    with suppress(FileNotFoundError):
        os.unlink(f"{folder}/{NAME}")
    shutil.rmtree(f"{folder}/{GRAVES}", ignore_errors=True)


def _framed(event: Event) -> bytes:
    body = _ENCODER.encode(event)
    return _LENGTH.pack(len(body)) + body


def _events(path: str) -> Iterator[Event]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    position = 0
    while position + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            return
        yield _DECODER.decode(data[position : position + length])
        position += length
