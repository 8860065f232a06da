"""Damage to the small files beside a replica's segments, by what it costs.

Most of it costs nothing, for another copy or the segments tell the same: indexes, the synced mark, one copy
of the checkpoint or of the vote. The whole checkpoint costs a trimmed log, the whole vote every vote.
"""

from __future__ import annotations

import random

from storage import checkpoint, segment_header, synced_mark, vote
from storage.memory_filesystem import MemoryFileSystem
from storage.state_file import SUFFIX
from tests.simulation.disk import FOLDER

CHECKPOINT = f"{FOLDER}/{checkpoint.NAME}"
VOTE = f"{FOLDER}/{vote.NAME}"


class Rot:
    """Lets the bits of one disk go bad. Each method says what it hit, or None where there is nothing."""

    def __init__(self, fs: MemoryFileSystem, rng: random.Random) -> None:
        self._fs = fs
        self._rng = rng

    def index(self) -> str | None:
        """Any part of any sparse index."""
        names = self._fs.listdir(FOLDER) if self._fs.exists(FOLDER) else []
        indexes = [name for name in names if name.endswith(".idx")]
        return self._part(f"{FOLDER}/{self._rng.choice(indexes)}") if indexes else None

    def state(self) -> str | None:
        """Any part of a file of a large state."""
        names = self._fs.listdir(FOLDER) if self._fs.exists(FOLDER) else []
        files = [name for name in names if name.endswith(SUFFIX)]
        return self._part(f"{FOLDER}/{self._rng.choice(files)}") if files else None

    def mark(self) -> str | None:
        """The synced mark: what it alone tells of is never damaged here."""
        return self._part(f"{FOLDER}/{synced_mark.NAME}")

    def checkpoint_copy(self) -> str | None:
        """One copy of the checkpoint, while both are good."""
        found = self._checkpoint()
        if found is None or not found.is_whole:
            return None
        return self._checkpoint_copies(found, self._rng.randrange(2))

    def checkpoint(self) -> str | None:
        """Both copies, or what is left of them."""
        found = self._checkpoint()
        return self._checkpoint_copies(found, 0, 1) if found is not None else None

    def vote_copy(self) -> str | None:
        """One of the four copies of the vote, while both of the newest version are good."""
        if not self._fs.exists(VOTE):
            return None
        data = self._fs.content(VOTE)
        copies = [vote.decode(data[at : at + vote.COPY_BYTES]) for at in _VOTE_COPIES]
        newest = max((copy.version for copy in copies if copy is not None), default=None)
        if sum(copy is not None and copy.version == newest for copy in copies) < 2:
            return None
        at = self._rng.choice(_VOTE_COPIES)
        return self._flip(VOTE, at, at + vote.COPY_BYTES)

    def vote(self) -> str | None:
        """All copies of the vote."""
        if not self._fs.exists(VOTE):
            return None
        for at in _VOTE_COPIES:
            self._flip(VOTE, at, at + vote.COPY_BYTES)
        return f"{VOTE}, all of it"

    def log_is_trimmed(self) -> bool:
        """Whether the log cannot be opened without its checkpoint."""
        bases = [segment_header.base_index_of(name) for name in self._fs.listdir(FOLDER)]
        return min((base for base in bases if base is not None), default=0) > 2

    def _checkpoint(self) -> checkpoint.Stored | None:
        return checkpoint.decode(self._fs.content(CHECKPOINT)) if self._fs.exists(CHECKPOINT) else None

    def _checkpoint_copies(self, found: checkpoint.Stored, *copies: int) -> str:
        state = b"" if found.checkpoint is None else found.checkpoint.state
        for copy in copies:
            start = copy * self._fs.size(CHECKPOINT) // 2
            self._flip(CHECKPOINT, start, start + checkpoint.HEADER_BYTES + len(state))
        return f"{CHECKPOINT}, copies {copies}"

    def _part(self, path: str) -> str | None:
        size = self._fs.size(path) if self._fs.exists(path) else 0
        return self._flip(path, 0, size) if size else None

    def _flip(self, path: str, start: int, end: int) -> str:
        at = self._rng.randrange(start, end)
        for _ in range(self._rng.randint(1, 20)):
            self._fs.flip_bit(path, at, self._rng.randrange(8))
            at = self._rng.randrange(start, end)
        return f"{path} from {start} to {end}"


_VOTE_COPIES = range(0, vote.FILE_BYTES, vote.COPY_DISTANCE)
