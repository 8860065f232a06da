"""What was read of one partition of a queue's topic, ahead of what was delivered."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

from floodmark.errors import FloodmarkError
from floodmark.format.record import Record

from node.coordinator.queues.leasing import Fresh, Seen

AGAIN_MIN_S: Final = 0.05
"""After a failure a partition is read again so much later, and later each time."""
TRIM_RECORDS: Final = 2_000


class Payload(NamedTuple):
    """A record, when it was appended, and its size."""

    record: Record
    append_time: int
    size: int


class PartitionAhead:
    """What was read of one partition and not taken: all records from ``first`` on and before ``next``."""

    __slots__ = (
        "_at",
        "_payloads",
        "_seen",
        "again_at",
        "again_s",
        "end",
        "failure",
        "first",
        "has_more",
        "next",
        "number",
        "start",
    )

    def __init__(self, number: int, first: int) -> None:
        self.number = number
        self.first = first
        self.next = first
        """Where reading goes on."""
        self.end: int | None = None
        """The high watermark, as it was when this was read last."""
        self.start = 0
        """Likewise the first offset: what is before was removed by retention."""
        self.has_more = True
        """Whether there may be records at ``next``."""
        self.again_at = 0.0
        self.again_s = AGAIN_MIN_S
        self.failure: FloodmarkError | None = None
        self._seen: list[Seen] = []
        self._payloads: list[Payload] = []
        self._at = 0
        """How many of the first ones are taken."""

    @property
    def is_gone(self) -> bool:
        """Whether retention has passed what was to be read next."""
        return self.start > self.next

    def __len__(self) -> int:
        """How many records."""
        return len(self._seen) - self._at

    def fresh(self, limit: int) -> Fresh:
        """Up to so many of the first ones, for a step."""
        begin, end = self._at, self._at + limit
        seen = self._seen[begin:end]
        return Fresh(
            self.number,
            self.first,
            self._seen[end].offset if end < len(self._seen) else self.next,
            seen,
        )

    def begins_delayed(self, now_ms: int) -> bool:
        """Whether the first one waits for its time."""
        return len(self) > 0 and self._seen[self._at].deliver_at_ms > now_ms

    @property
    def oldest_ms(self) -> int | None:
        """When the first one was appended; None where there is none."""
        return self._payloads[self._at].append_time if len(self) else None

    def add(self, seen: list[Seen], payloads: list[Payload]) -> None:
        """More of them, in order."""
        self._seen += seen
        self._payloads += payloads

    def take(self, below: int) -> tuple[list[Seen], list[Payload]]:
        """Those below an offset; they are not here any more."""
        begin, end = self._at, self._index(below)
        seen, payloads = self._seen[begin:end], self._payloads[begin:end]
        self._at = end
        if end > TRIM_RECORDS or end == len(self._seen):
            del self._seen[:end], self._payloads[:end]
            self._at = 0
        self.first = below
        self.next = max(self.next, below)
        return seen, payloads

    def _index(self, below: int) -> int:
        """Where the first one is that is not below an offset."""
        seen, begin = self._seen, self._at
        if begin == len(seen) or below <= seen[begin].offset:
            return begin
        near = begin + below - seen[begin].offset  # It is there where no record is missing between.
        if near < len(seen) and seen[near].offset == below:
            return near
        return bisect_left(seen, below, begin, min(near, len(seen)), key=_offset_of)

    def clear(self, first: int) -> None:
        """Begin again at an offset."""
        self._seen, self._payloads, self._at = [], [], 0
        self.first = self.next = first
        self.has_more = True


def _offset_of(seen: Seen) -> int:
    return seen.offset
