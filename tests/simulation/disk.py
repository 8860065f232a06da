"""The simulated disk of one node: bytes in memory, faults on demand, and how long a write or sync takes."""

from __future__ import annotations

import errno
import random

from floodmark.format.frame import FrameHeader, decode_header

from storage import segment_header
from storage.memory_filesystem import MemoryFileSystem
from tests.simulation.codec import RAFT_GROUP

DATA = "/data"
FOLDER = f"{DATA}/groups/{RAFT_GROUP}"
_FAILURES = {
    "write error": ("write", errno.EIO),
    "sync error": ("sync", errno.EIO),
    "disk full": ("write", errno.ENOSPC),
}


class Disk:
    """Outlives the processes that use it."""

    def __init__(self, rng: random.Random, flush_s: tuple[float, float]) -> None:
        self.fs = MemoryFileSystem()
        self.slowness = 1.0
        self._rng = rng
        self._flush_s = flush_s

    def duration(self) -> float:
        """How long the next write or sync takes."""
        return self._rng.uniform(*self._flush_s) * self.slowness

    def fail_next(self, kind: str) -> None:
        """One of the coming calls fails, once."""
        operation, error = _FAILURES[kind]
        self.fs.fail(operation, error=error, after=self._rng.randint(0, 3))
        if kind != "sync error" and self._rng.random() < 0.5:
            self.fs.short_writes = self._rng

    def heal(self) -> None:
        """Nothing fails any more, and nothing is slow."""
        self.fs.heal()
        self.slowness = 1.0

    def crash(self, *, power_loss: bool) -> None:
        """End all use by the process; with ``power_loss`` what is not durable is lost or torn."""
        if power_loss:
            self.fs.crash(self._rng)
        else:
            self.fs.restart()

    def wipe(self) -> None:
        """Everything is gone."""
        self.fs.remove_tree(DATA)

    def flip_durable_bit(self) -> str | None:
        """Damage one bit of a frame of which a later one proves that it was durable; says where.

        What nothing proves to have been durable cannot be told from a write that a crash tore: the
        last frames of a log are protected by their copies on other disks alone.
        """
        provable = self._provable_frames()
        if not provable:
            return None
        path, position, header = self._rng.choice(provable)
        at = position + self._rng.randrange(header.size)
        self.fs.flip_bit(path, at, self._rng.randrange(8))
        return f"{path} byte {at}, in frame {header.index}"

    def _provable_frames(self) -> list[tuple[str, int, FrameHeader]]:
        found: list[tuple[int, str, int, FrameHeader]] = []
        if not self.fs.exists(FOLDER):
            return []
        for name in self.fs.listdir(FOLDER):
            if segment_header.base_index_of(name) is None:
                continue
            path = f"{FOLDER}/{name}"
            data = self.fs.content(path)
            segment = segment_header.decode(data[: segment_header.HEADER_BYTES])
            position = segment_header.HEADER_BYTES
            while segment is not None and (header := decode_header(data, position)) is not None:
                found.append((segment.base_position + position, path, position, header))
                position += header.size
        witness = max((header.synced for *_, header in found), default=0)
        return [
            (path, position, header) for at, path, position, header in found if at + header.size <= witness
        ]
