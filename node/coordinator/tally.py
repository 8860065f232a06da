"""What the shards of a node have done, counted."""

from __future__ import annotations


class CoordinatorTally:
    """One per node."""

    __slots__ = ("bytes", "entries", "frames")

    def __init__(self) -> None:
        self.frames = 0
        """Proposed."""
        self.entries = 0
        """Requests whose pairs they held: those of one turn of the event loop share a frame."""
        self.bytes = 0

    def framed(self, entries: int, size: int) -> None:
        """A frame was proposed."""
        self.frames += 1
        self.entries += entries
        self.bytes += size
