"""Makes a loss of power of the end of a process: what it had not synced is taken back.

As the port says (storage/filesystem.py): of unsynced bytes any part may stay, in pages; of names any prefix
in the order of the changes. What chance leaves is what a kernel may have written back early.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from storage.faulty.trace import GRAVES, NAME, Trace, forget
from storage.faulty.unsynced import FileState, Named, durable_image
from storage.memory_content import MemoryContent


@dataclass(frozen=True, slots=True)
class Taken:
    """What was lost: files whose content changed, and changes of names that were undone."""

    files: int
    names: int


def lose_power(folder: str, data_dir: str, random: Random | None) -> Taken:
    """Take back what a process that has ended left unsynced; all that is left is durable afterwards.

    ``folder`` is that of its ``FaultyFileSystem``. Without ``random`` nothing is left that was not synced.
    """
    if not os.path.exists(f"{folder}/{NAME}"):
        return Taken(0, 0)
    trace = Trace(folder)
    trace.close()
    unsynced = trace.unsynced
    paths = {os.stat(path).st_ino: path for path in (*_files(data_dir), *_files(f"{folder}/{GRAVES}"))}
    files = 0
    for file, state in sorted(unsynced.files.items()):
        if file in paths:
            files += _take_bytes(paths[file], state, random)
    kept = random.randint(0, len(unsynced.names)) if random is not None else 0
    undone = unsynced.names[kept:]
    for named in reversed(undone):
        _take_name(named)
    forget(folder)
    return Taken(files, len(undone))


def _take_bytes(path: str, state: FileState, random: Random | None) -> bool:
    with open(path, "r+b") as file:
        before = file.read()
        after = durable_image(state, before)
        if random is not None:
            content = MemoryContent()
            content.current, content.durable = bytearray(before), after
            content.dirty = [(change.start, change.end) for change in state.changes]
            content.crash(random)
            after = content.current
        if after == before:
            return False
        file.seek(0)
        file.write(after)
        file.truncate()
    return True


def _take_name(named: Named) -> None:
    """Let a name be what it was before; what had not been done yet needs no undoing."""
    if named.file and _inode(named.path) == named.file:
        if named.old:
            os.rename(named.path, named.old)
        else:
            os.unlink(named.path)
    if named.grave:
        with suppress(FileNotFoundError):
            os.rename(named.grave, named.path)


def _inode(path: str) -> int | None:
    with suppress(FileNotFoundError):
        return os.stat(path).st_ino
    return None


def _files(folder: str) -> Iterator[str]:
    for above, _, names in os.walk(folder):
        yield from (f"{above}/{name}" for name in names)
