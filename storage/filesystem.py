"""The filesystem port: all that storage asks of an operating system, and what each call guarantees.

Nothing is durable until a sync says so:

- bytes and size of a file: after ``File.sync()``; until then a crash may keep any part of them,
- names (created, renamed, removed): after ``sync_folder()`` of their folder; until then a crash may
  bring the old names back, in an order that respects the order of the changes within that folder.

All calls raise ``OSError`` as the operating system does. Calls on one file may come from several threads.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol


class File(Protocol):
    """An open file, read and written at explicit positions."""

    @property
    def path(self) -> str:
        """What it was opened as."""

    def pread(self, length: int, position: int) -> bytes:
        """The bytes at ``position``; fewer than ``length`` only where the file ends."""

    def writev(self, buffers: Sequence[bytes], position: int) -> int:
        """Write buffers one behind the other from ``position`` on; returns the bytes written.

        May write less than asked for, as ``pwritev`` does; not durable. At most ``IOV_MAX`` buffers.
        """

    def truncate(self, size: int) -> None:
        """Set the size; not durable before ``sync``."""

    def sync(self) -> None:
        """Make all bytes written so far, and the size, durable.

        When it fails, what of them is on disk is unknown for good, and a second call proves nothing.
        """

    def forget_cached(self, start: int, end: int) -> None:
        """Bytes that are durable will not be read soon: no memory need be spent on them. Never fails."""

    def size(self) -> int:
        """The size in bytes."""

    def close(self) -> None:
        """Let go of the file; nothing becomes durable by it. A second call does nothing."""


class Space(NamedTuple):
    """Of the disk that a folder lies on: what this process may still use, and all there is."""

    free_bytes: int
    total_bytes: int


class FileSystem(Protocol):
    """Files by path. Paths use ``/``."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; with ``create`` an empty file is made when there is none."""

    def size(self, path: str) -> int:
        """The size of a file, without opening it."""

    def exists(self, path: str) -> bool:
        """Whether a file or folder of this name is there."""

    def listdir(self, path: str) -> list[str]:
        """The names in a folder, sorted."""

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it, durable on return; fine when it is there."""

    def rename(self, old: str, new: str) -> None:
        """Rename atomically within one filesystem, replacing ``new``; durable with ``sync_folder``."""

    def unlink(self, path: str) -> None:
        """Remove a file's name; open files stay readable."""

    def remove_tree(self, path: str) -> None:
        """Remove a folder and all below it; fine when it is not there."""

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""

    def space(self, path: str) -> Space:
        """What is left on the disk of a folder. May take as long as the disk does."""


IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX"))
"""Most buffers for one ``writev``."""


def write_all(file: File, buffers: Sequence[bytes], position: int) -> int:
    """Write every byte of ``buffers``, however short the single writes are; returns the end position."""
    queue = [buffer for buffer in buffers if buffer]
    end, done = position + sum(map(len, queue)), 0
    while position < end:
        part = queue[done : done + IOV_MAX]
        written = file.writev(part, position)
        if written <= 0:
            raise OSError(f"a write at byte {position} made no progress")
        position += written
        if position == end:
            break
        for buffer in part:
            if written < len(buffer):
                break
            written -= len(buffer)
            done += 1
        if written:
            queue[done] = queue[done][written:]
    return position


class RealFile:
    """A file of the operating system."""

    __slots__ = ("_fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    @property
    def descriptor(self) -> int:
        """Its number; negative once it is closed."""
        return self._fd

    def pread(self, length: int, position: int) -> bytes:
        data = os.pread(self._fd, length, position)
        if len(data) == length or not data:
            return data
        parts, total = [data], len(data)
        while total < length and (data := os.pread(self._fd, length - total, position + total)):
            parts.append(data)
            total += len(data)
        return b"".join(parts)

    def writev(self, buffers: Sequence[bytes], position: int) -> int:
        return os.pwritev(self._fd, buffers, position)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def forget_cached(self, start: int, end: int) -> None:
        # Only a hint, which not every system knows.
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._fd, start, end - start, os.POSIX_FADV_DONTNEED)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        # A cache that evicts a file only drops it: a reader in another thread may be using it still,
        # and a number closed under it could by then belong to another file.
        self.close()


class RealFileSystem:
    """The filesystem of the operating system (POSIX).

    No file gets a descriptor of ``descriptors_max`` or above. A new descriptor is the lowest that is free, so
    what is above stays free for others, however many files there are.
    """

    def __init__(self, *, descriptors_max: int | None = None) -> None:
        self._descriptors_max = descriptors_max

    def open(self, path: str, *, create: bool = False) -> File:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        file = RealFile(os.open(path, flags, 0o600), path)
        if self._descriptors_max is not None and file.descriptor >= self._descriptors_max:
            file.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return file

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def mkdir(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path.rstrip("/")) or "."
        self.mkdir(parent)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        self.sync_folder(parent)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
        self.sync_folder(os.path.dirname(path.rstrip("/")) or ".")

    def sync_folder(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def space(self, path: str) -> Space:
        found = os.statvfs(path)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
