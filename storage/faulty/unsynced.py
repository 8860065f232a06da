"""What is not durable yet on a filesystem: kept up from events, so that a loss of power can take it back.

Files go by their inode, because names change. An undo record is cheap where logs are written: behind the
end of a file there is nothing that would have to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec


class Change(msgspec.Struct, array_like=True):
    """Bytes of a file that were changed from ``start`` to ``end``; what stood there before is ``old``.

    ``old`` is shorter where the file ended. ``lost``: a sync of it has failed, so no later one makes it
    durable; only writing it once more does, as on Linux.
    """

    number: int
    start: int
    end: int
    old: bytes
    lost: bool = False


class FileState(msgspec.Struct, array_like=True):
    """One file: its durable size, and the changes since, in order."""

    size: int
    changes: list[Change] = []


class Known(msgspec.Struct, array_like=True, tag=0):
    """A file's whole state."""

    file: int
    state: FileState


class Changed(msgspec.Struct, array_like=True, tag=1):
    """A file of ``size`` bytes is about to be changed."""

    file: int
    size: int
    change: Change


class Synced(msgspec.Struct, array_like=True, tag=2):
    """All changes of a file up to number ``upto`` are durable, and so was its size then."""

    file: int
    upto: int
    size: int


class SyncFailed(msgspec.Struct, array_like=True, tag=3):
    """A sync of a file has failed."""

    file: int


class Named(msgspec.Struct, array_like=True, tag=4):
    """The name ``path`` of a file or folder is about to be made (``old`` empty), or moved from ``old``, or
    removed (``file`` 0). What it stood for before is kept as ``grave``, if there was anything.
    """

    number: int
    path: str
    file: int
    old: str = ""
    grave: str = ""


class NamesSynced(msgspec.Struct, array_like=True, tag=5):
    """All changes of names up to number ``upto`` are durable."""

    upto: int


class TreeRemoved(msgspec.Struct, array_like=True, tag=6):
    """A folder and all below it are gone for good."""

    path: str


Event: TypeAlias = Known | Changed | Synced | SyncFailed | Named | NamesSynced | TreeRemoved


class Unsynced:
    """``files`` by inode, and ``names`` in the order in which they were changed."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.files: dict[int, FileState] = {}
        self.names: list[Named] = []
        self.number = 0
        """The highest number of a change so far."""
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case Known(file, state):
                self.files[file] = state
                self._count(*(change.number for change in state.changes))
            case Changed(file, size, change):
                self.files.setdefault(file, FileState(size, [])).changes.append(change)
                self._count(change.number)
            case Synced(file, upto, size) if file in self.files:
                self._synced(file, upto, size)
            case SyncFailed(file) if file in self.files:
                for change in self.files[file].changes:
                    change.lost = True
            case Named(number, _, file, old):
                if not old:
                    # A new file: what was known of an earlier one with its inode is over.
                    self.files.pop(file, None)
                self.names.append(event)
                self._count(number)
            case NamesSynced(upto):
                self.names = [named for named in self.names if named.number > upto]
            case TreeRemoved(path):
                self.names = [named for named in self.names if not f"{named.path}/".startswith(f"{path}/")]

    def events(self) -> Iterator[Event]:
        """Those that lead to the same state, as few as there can be."""
        # Names first: one that is made ends what was known of its inode before.
        yield from self.names
        for file, state in self.files.items():
            yield Known(file, state)

    def last_name_in(self, folder: str) -> int:
        """The number of the last pending change of a name in a folder; 0 when there is none.

        As in a journaling filesystem, what was changed before becomes durable with it.
        """
        inside = (n.number for n in self.names if folder in (_folder(n.path), _folder(n.old)))
        return max(inside, default=0)

    def _synced(self, file: int, upto: int, size: int) -> None:
        state = self.files[file]
        done = [change for change in state.changes if not change.lost and change.number <= upto]
        rest = [change for change in state.changes if change.lost or change.number > upto]
        for written in done:
            rest = [piece for change in rest for piece in _without(change, written)]
        if rest:
            self.files[file] = FileState(size, rest)
        else:
            del self.files[file]

    def _count(self, *numbers: int) -> None:
        self.number = max(self.number, *numbers, 0)


def durable_image(state: FileState, current: bytes) -> bytearray:
    """What is surely on disk of a file that reads as ``current``."""
    image = bytearray(current)
    for change in reversed(state.changes):
        if len(image) < change.end:
            image.extend(bytes(change.end - len(image)))
        image[change.start : change.end] = change.old.ljust(change.end - change.start, b"\0")
    del image[state.size :]
    image.extend(bytes(state.size - len(image)))
    return image


def _without(change: Change, written: Change) -> Iterator[Change]:
    """What is left of a lost change when a part of it was written again, and synced."""
    if not change.lost:
        yield change
        return
    for start, end in (
        (change.start, min(change.end, written.start)),
        (max(change.start, written.end), change.end),
    ):
        if start < end:
            old = change.old[start - change.start : end - change.start]
            yield Change(change.number, start, end, old, lost=True)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
