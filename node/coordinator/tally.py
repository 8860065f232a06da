"""What the shards of a node have done, counted."""

from __future__ import annotations


class CoordinatorTally:
    """One per node."""

    __slots__ = ("bytes", "ended", "entries", "frames")

    def __init__(self) -> None:
        self.frames = 0
        """Proposed."""
        self.entries = 0
        """Steps whose pairs they held: what is decided while a frame is under way shares the next one."""
        self.bytes = 0
        self.ended = 0
        """Members whose time was over."""

    def framed(self, entries: int, size: int) -> None:
        """A frame was proposed."""
        self.frames += 1
        self.entries += entries
        self.bytes += size
