"""Which faults a process runs under right now: a small file that another process changes while it runs.

Both sides map the file into memory. A change is in force for every call that begins after ``post`` has
returned, without any answer being waited for: also in a process that stands still, or starts only later. To
notice that nothing has changed costs one read of memory.

     0  version   8  counts the changes, little-endian
  4096  slot 0       conditions of even versions: length (4), CRC32C (4), JSON
 36864  slot 1       conditions of odd versions
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final, Literal

import google_crc32c
import msgspec

NAME: Final = "conditions"
_SLOTS_AT: Final = 4096
_SLOT_BYTES: Final = 32 << 10
_FILE_BYTES: Final = _SLOTS_AT + 2 * _SLOT_BYTES

_VERSION = struct.Struct("<Q")
_SLOT = struct.Struct("<II")


class DiskFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is wrong with the disk.

    full    nothing grows: writes behind a file's end, new files and folders fail with ENOSPC; like a quota,
            it does not show in the free space
    scarce  everything works, and no free space is told of
    error   every call of the ``operation`` fails with EIO
    short   writes take only a part of what they are given, at least one byte
    slow    every call of the ``operation`` takes ``delay_ms`` longer
    """

    effect: Literal["full", "scarce", "error", "short", "slow"]
    operation: Literal["write", "sync", "read"] = "write"
    delay_ms: int = 0


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is not as it should be. The defaults are a sound machine."""

    disk: tuple[DiskFault, ...] = ()
    clock_offset_ms: int = 0
    """By how much the wall clock is ahead of the true one."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Conditions)


class Board:
    """The conditions of one process. One other process posts them, any number reads. Thread-safe."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        fd = os.open(f"{folder}/{NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if os.fstat(fd).st_size < _FILE_BYTES:
                os.ftruncate(fd, _FILE_BYTES)
            self._memory = mmap.mmap(fd, _FILE_BYTES)
        finally:
            os.close(fd)
        self._seen: tuple[int, Conditions] = (0, Conditions())

    @property
    def now(self) -> Conditions:
        """Those in force."""
        version = self._version()
        seen, conditions = self._seen
        if version == seen:
            return conditions
        while True:
            posted = self._read(version)
            # A slot is written again only for the version after the next: what was read is whole if that
            # has not begun.
            after = self._version()
            if posted is not None and after == version:
                self._seen = (version, posted)
                return posted
            version = after

    def post(self, conditions: Conditions) -> None:
        """Put conditions into force, in the place of those before."""
        text = _ENCODER.encode(conditions)
        if len(text) > _SLOT_BYTES - _SLOT.size:
            raise ValueError("too many faults at once")
        version = self._version() + 1
        at = _slot_at(version)
        slot = _SLOT.pack(len(text), google_crc32c.value(text)) + text
        self._memory[at : at + len(slot)] = slot
        self._memory[: _VERSION.size] = _VERSION.pack(version)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def _version(self) -> int:
        return int(_VERSION.unpack_from(self._memory)[0])

    def _read(self, version: int) -> Conditions | None:
        at = _slot_at(version)
        length, crc = _SLOT.unpack_from(self._memory, at)
        text = self._memory[at + _SLOT.size : at + _SLOT.size + min(length, _SLOT_BYTES)]
        return _DECODER.decode(text) if google_crc32c.value(text) == crc else None


def _slot_at(version: int) -> int:
    return _SLOTS_AT + _SLOT_BYTES * (version % 2)
