"""A filesystem in memory that fails on demand: for tests, the simulator and fault injection.

It keeps apart what is visible from what is durable, as the port (filesystem.py) promises it:

- ``crash(random)`` is a loss of power. Of unsynced bytes any subset of 512-byte pages stays, of unsynced
  names (created, renamed, removed) any prefix in the order of the changes; all open files become unusable.
- ``restart()`` is the end of a process: nothing is lost, but all open files become unusable.
- ``fail(operation, ...)`` makes a coming call raise; ``space_left_bytes`` and ``short_writes`` limit
  writes; ``flip_bit``, ``set_content`` damage what is stored. A failed sync leaves its bytes readable but
  never durable, however often it is repeated.

Everything is deterministic: the same calls with the same ``Random`` leave the same bytes. Not for several
threads at a time beyond what Python's own locking gives; no call blocks.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from random import Random

from storage.filesystem import File, Space
from storage.memory_content import MemoryContent
from storage.memory_faults import MemoryFaults, os_error

_Tree = dict[str, dict[str, MemoryContent]]
_ENDLESS = 1 << 50


class MemoryFile:
    """An open file of a ``MemoryFileSystem``."""

    __slots__ = ("_content", "_fs", "_generation", "path")

    def __init__(self, fs: MemoryFileSystem, path: str, content: MemoryContent) -> None:
        self._fs = fs
        self.path = path
        self._content = content
        self._generation = fs.generation

    def pread(self, length: int, position: int) -> bytes:
        self._enter("read")
        data = bytes(self._content.current[position : position + length])
        self._fs.bytes_read += len(data)
        return data

    def writev(self, buffers: Sequence[bytes], position: int) -> int:
        self._enter("write")
        total = sum(map(len, buffers))
        limit = self._fs.admit(total, position, len(self._content.current), self.path)
        written = self._content.write(buffers, position, limit)
        self._fs.bytes_written += written
        return written

    def truncate(self, size: int) -> None:
        self._enter("truncate")
        self._content.truncate(size)

    def sync(self) -> None:
        try:
            self._enter("sync")
        except OSError:
            self._content.fail_sync()
            raise
        self._content.sync()

    def forget_cached(self, start: int, end: int) -> None:
        """There is nothing beside the memory itself."""

    def size(self) -> int:
        return len(self._content.current)

    def close(self) -> None:
        self._generation = -1

    def _enter(self, operation: str) -> None:
        if self._generation != self._fs.generation:
            raise os_error(errno.EBADF, self.path)
        self._fs.enter(operation, self.path)


class MemoryFileSystem(MemoryFaults):
    """See the module's text. ``calls`` counts calls per operation, ``bytes_*`` the bytes of files."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self._now: _Tree = {}
        self._durable: _Tree = {}
        #: Changes of names since they were last durable: (folder, name, content or None for removed, ...).
        self._journal: list[list[tuple[str, str, MemoryContent | None]]] = []

    # What happens to it

    def crash(self, random: Random) -> None:
        """Lose power; see the module's text. Faults stay as they are."""
        self.restart()
        kept = random.randint(0, len(self._journal))
        for change in self._journal[:kept]:
            _apply(self._durable, change)
        self._journal.clear()
        self._now = {folder: dict(names) for folder, names in self._durable.items()}
        seen: set[int] = set()
        for names in self._now.values():
            for content in names.values():
                if id(content) not in seen:
                    seen.add(id(content))
                    content.crash(random)

    def restart(self) -> None:
        """Make all open files unusable, as the end of the process that had opened them does."""
        self.generation += 1

    def flip_bit(self, path: str, position: int, bit: int = 0) -> None:
        """Damage a stored bit."""
        self._content(path).flip_bit(position, bit)

    def content(self, path: str) -> bytes:
        """The bytes of a file, past all faults."""
        return bytes(self._content(path).current)

    def set_content(self, path: str, data: bytes) -> None:
        """Give a file other bytes, durably and past all faults: truncation, or an old copy restored."""
        folder, _, name = path.rpartition("/")
        content = self._now[folder].get(name) or MemoryContent()
        content.set_durable(data)
        self._now[folder][name] = self._durable[folder][name] = content

    # The port

    def open(self, path: str, *, create: bool = False) -> File:
        self.enter("open", path)
        folder, _, name = path.rpartition("/")
        names = self._folder(folder)
        content = names.get(name)
        if content is None:
            if not create:
                raise os_error(errno.ENOENT, path)
            content = MemoryContent()
            self._change([(folder, name, content)])
        return MemoryFile(self, path, content)

    def size(self, path: str) -> int:
        return len(self._content(path).current)

    def exists(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return path in self._now or name in self._now.get(folder, {})

    def listdir(self, path: str) -> list[str]:
        prefix = f"{path}/"
        folders = {f[len(prefix) :].partition("/")[0] for f in self._now if f.startswith(prefix)}
        return sorted(folders | self._folder(path).keys())

    def mkdir(self, path: str) -> None:
        self.enter("mkdir", path)
        while path and path not in self._now:
            self._now[path] = {}
            self._durable[path] = {}
            path = path.rpartition("/")[0]

    def rename(self, old: str, new: str) -> None:
        self.enter("rename", old)
        content = self._content(old)
        folder, _, name = old.rpartition("/")
        new_folder, _, new_name = new.rpartition("/")
        self._folder(new_folder)
        self._change([(folder, name, None), (new_folder, new_name, content)])

    def unlink(self, path: str) -> None:
        self.enter("unlink", path)
        self._content(path)
        folder, _, name = path.rpartition("/")
        self._change([(folder, name, None)])

    def remove_tree(self, path: str) -> None:
        for tree in (self._now, self._durable):
            for folder in [f for f in tree if f == path or f.startswith(f"{path}/")]:
                del tree[folder]
        below = f"{path}/"
        for change in self._journal:
            change[:] = [entry for entry in change if not f"{entry[0]}/".startswith(below)]

    def sync_folder(self, path: str) -> None:
        self.enter("sync_folder", path)
        last = max((i for i, change in enumerate(self._journal, 1) if _touches(change, path)), default=0)
        # As in a journaling filesystem, what was changed before becomes durable with it.
        for change in self._journal[:last]:
            _apply(self._durable, change)
        del self._journal[:last]

    def space(self, path: str) -> Space:
        self.enter("space", path)
        left = self.space_left_bytes
        return Space(_ENDLESS if left is None else left, _ENDLESS)

    def _change(self, change: list[tuple[str, str, MemoryContent | None]]) -> None:
        _apply(self._now, change)
        self._journal.append(change)

    def _folder(self, path: str) -> dict[str, MemoryContent]:
        try:
            return self._now[path]
        except KeyError:
            raise os_error(errno.ENOENT, path) from None

    def _content(self, path: str) -> MemoryContent:
        folder, _, name = path.rpartition("/")
        content = self._folder(folder).get(name)
        if content is None:
            raise os_error(errno.ENOENT, path)
        return content


def _apply(tree: _Tree, change: list[tuple[str, str, MemoryContent | None]]) -> None:
    for folder, name, content in change:
        if content is None:
            tree[folder].pop(name, None)
        else:
            tree[folder][name] = content


def _touches(change: list[tuple[str, str, MemoryContent | None]], folder: str) -> bool:
    return any(entry[0] == folder for entry in change)
