"""What happened, in order: the last events in words for people, all of them in one hash for comparison."""

from __future__ import annotations

import collections
import hashlib


class Trace:
    """Two runs of one seed are the same run exactly when their digests are equal."""

    def __init__(self, *, keep: int = 120) -> None:
        self._recent: collections.deque[str] = collections.deque(maxlen=keep)
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0
        self.listener: list[str] | None = None
        """When set to a list, every event is kept there too: for reading one run from its start."""

    def add(self, time: float, who: str, what: str) -> None:
        """Note one event of one node (or of the network, a disk, the workload) at a virtual time."""
        line = f"{time:10.6f} {who:<8} {what}"
        self._hash.update(line.encode())
        self._recent.append(line)
        self.count += 1
        if self.listener is not None:
            self.listener.append(line)

    @property
    def digest(self) -> str:
        """Stands for every event since the start."""
        return self._hash.hexdigest()

    def tail(self) -> str:
        """The most recent events, one a line."""
        return "\n".join(self._recent)
