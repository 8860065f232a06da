"""What a log has written and is not expected to be read leaves the operating system's cache of files.

Consumers, and replicas that lack something, read at the leader. What its followers write would push aside
what is read, and every page that the cache grows by costs more than the write itself where the machine is a
virtual one that gives memory it does not need back to its host: 3 milliseconds a megabyte, for 0.3 with
pages that are used again.
"""

from __future__ import annotations

from typing import Final

from storage.filesystem import File

KEPT_BYTES: Final = 8 << 20
"""The newest stay: entries are applied once they are committed, and a follower may be asked to lead."""
STEP_BYTES: Final = 1 << 20
"""So much leaves at a time, and small writes do not ask for it each."""


class CachedPages:
    """The cached part of the active segment. Used by the thread that syncs."""

    __slots__ = ("_start",)

    def __init__(self, start: int) -> None:
        self._start = start

    def begin(self, start: int) -> None:
        """Another segment is written to, or the same one from another place."""
        self._start = start

    def synced(self, file: File, size: int, *, are_kept: bool) -> None:
        """All is durable up to ``size``. Pages can only leave once they are, and then for nothing."""
        if are_kept:
            self._start = size
        elif size - KEPT_BYTES - self._start >= STEP_BYTES:
            file.forget_cached(self._start, size - KEPT_BYTES)
            self._start = size - KEPT_BYTES
