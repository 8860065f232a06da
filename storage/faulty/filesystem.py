"""The filesystem of the operating system, with faults that are switched on and off while it is used.

Everything is done to the real files at once, so that the end of the process loses nothing. What is not synced
yet is noted before it is done (trace.py), so that a loss of power can be made of that end (power_loss.py).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Sequence
from typing import Final, Literal

from storage.faulty.conditions import Board
from storage.faulty.trace import Trace
from storage.faulty.unsynced import (
    Change,
    Changed,
    Event,
    Named,
    NamesSynced,
    Synced,
    SyncFailed,
    TreeRemoved,
)
from storage.filesystem import File, FileSystem, RealFileSystem, Space

_SHORTENED_TO: Final = 3
"""A short write takes this part of the bytes: one third."""

Operation = Literal["write", "sync", "read"]


class FaultyFileSystem:
    """``folder`` holds the conditions and the trace, on the same filesystem as the files; see the module."""

    def __init__(self, folder: str, board: Board, real: FileSystem | None = None) -> None:
        self.board = board
        self.lock = threading.Lock()
        """Held while something is noted and done, but never over a sync."""
        self._real: FileSystem = real or RealFileSystem()
        self._trace = Trace(folder)
        self._made = f"{folder}/made"

    # The port

    def open(self, path: str, *, create: bool = False) -> File:
        path = os.path.abspath(path)
        with self.lock:
            if create and not os.path.exists(path):
                self.meet("write", path, grows=True)
                # Its inode is known once it is made, so it is made where nobody sees it.
                self._real.open(self._made, create=True).close()
                self.note(Named(self.next_number(), path, os.stat(self._made).st_ino))
                os.rename(self._made, path)
            return FaultyFile(self, path, self._real.open(path))

    def size(self, path: str) -> int:
        return self._real.size(path)

    def exists(self, path: str) -> bool:
        return self._real.exists(path)

    def listdir(self, path: str) -> list[str]:
        return self._real.listdir(path)

    def mkdir(self, path: str) -> None:
        if not os.path.isdir(path):
            self.meet("write", path, grows=True)
            self._real.mkdir(path)

    def rename(self, old: str, new: str) -> None:
        old, new = os.path.abspath(old), os.path.abspath(new)
        with self.lock:
            self.meet("write", old)
            file = os.stat(old).st_ino
            grave = "" if os.path.isdir(old) else self._trace.bury(new)
            self.note(Named(self.next_number(), new, file, old, grave))
            self._real.rename(old, new)

    def unlink(self, path: str) -> None:
        path = os.path.abspath(path)
        with self.lock:
            self.meet("write", path)
            self.note(Named(self.next_number(), path, 0, grave=self._trace.bury(path)))
            self._real.unlink(path)

    def remove_tree(self, path: str) -> None:
        path = os.path.abspath(path)
        self._real.remove_tree(path)
        with self.lock:
            self.note(TreeRemoved(path))

    def sync_folder(self, path: str) -> None:
        path = os.path.abspath(path)
        self.meet("sync", path)
        with self.lock:
            upto = self._trace.unsynced.last_name_in(path)
        self._real.sync_folder(path)
        with self.lock:
            self.note(NamesSynced(upto))

    def space(self, path: str) -> Space:
        found = self._real.space(path)
        is_scarce = any(fault.effect == "scarce" for fault in self.board.now.disk)
        return Space(0, found.total_bytes) if is_scarce else found

    # For the files

    def meet(self, operation: Operation, path: str, *, grows: bool = False) -> None:
        """Have a call suffer what is in force; raises ``OSError``."""
        for fault in self.board.now.disk:
            if fault.effect == "full" and grows:
                raise _error(errno.ENOSPC, path)
            if fault.operation != operation:
                continue
            if fault.effect == "slow":
                time.sleep(fault.delay_ms / 1000)
            elif fault.effect == "error":
                raise _error(errno.EIO, path)

    @property
    def writes_are_short(self) -> bool:
        """Whether a write takes only a part."""
        return any(fault.effect == "short" for fault in self.board.now.disk)

    def note(self, event: Event) -> None:
        """Before what it tells of is done; with the lock held."""
        self._trace.add(event)

    def next_number(self) -> int:
        """Of the next change; with the lock held."""
        return self._trace.unsynced.number + 1


class FaultyFile:
    """An open file of a ``FaultyFileSystem``."""

    __slots__ = ("_fs", "_inode", "_real", "path")

    def __init__(self, fs: FaultyFileSystem, path: str, real: File) -> None:
        self._fs = fs
        self.path = path
        self._real = real
        self._inode = os.stat(path).st_ino

    def pread(self, length: int, position: int) -> bytes:
        self._fs.meet("read", self.path)
        return self._real.pread(length, position)

    def writev(self, buffers: Sequence[bytes], position: int) -> int:
        fs = self._fs
        total = sum(map(len, buffers))
        with fs.lock:
            size = self._real.size()
            fs.meet("write", self.path, grows=position + total > size)
            if fs.writes_are_short and total > 1:
                total = max(1, total // _SHORTENED_TO)
                buffers = [b"".join(buffers)[:total]]
            self._change(min(position, size), position + total, size)
            return self._real.writev(buffers, position)

    def truncate(self, size: int) -> None:
        fs = self._fs
        with fs.lock:
            before = self._real.size()
            fs.meet("write", self.path, grows=size > before)
            if size != before:
                self._change(min(size, before), max(size, before), before)
            self._real.truncate(size)

    def sync(self) -> None:
        fs = self._fs
        with fs.lock:
            upto, size = fs.next_number() - 1, self._real.size()
        try:
            fs.meet("sync", self.path)
            self._real.sync()
        except OSError:
            with fs.lock:
                fs.note(SyncFailed(self._inode))
            raise
        with fs.lock:
            fs.note(Synced(self._inode, upto, size))

    def forget_cached(self, start: int, end: int) -> None:
        self._real.forget_cached(start, end)

    def size(self) -> int:
        return self._real.size()

    def close(self) -> None:
        self._real.close()

    def _change(self, start: int, end: int, size: int) -> None:
        old = self._real.pread(min(end, size) - start, start) if start < size else b""
        self._fs.note(Changed(self._inode, size, Change(self._fs.next_number(), start, end, old)))


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
