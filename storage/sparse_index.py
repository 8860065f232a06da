"""The sparse index of one segment: offset, index and time to a position near by. Always rebuildable.

The file beside a segment, suffix ``.idx``; all integers are little-endian.

     0  magic            4  "FMX1"
     4  crc32c           4  of bytes 8 to the end
     8  base_index       8  of the segment
    16  covered          8  bytes of the segment that this index describes
    24  last_index       8  of the last frame within them
    32  max_timestamp    8  greatest record timestamp within them, signed
    40  max_append_time  8  greatest append time within them, signed
    48  count            4
    52  first_seen       8  when retention first met a time of the segment that lay in the future, 0 when
                            it did not: milliseconds since the Unix epoch, signed
    60  reserved         4  zero
    64  entries             count times: index 8, first_offset 8, position 8 (within the segment file),
                            max_timestamp 8 (signed, of all frames of the segment before this one)
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Final

import google_crc32c

from storage.segment_header import HEADER_BYTES as SEGMENT_HEADER_BYTES

MAGIC: Final = b"FMX1"
HEADER_BYTES: Final = 64
NEVER: Final = -(1 << 63)
ANY_TIME: Final = (1 << 63) - 1
"""Of frames that cannot be read: a search by time must not pass them over."""

_PREFIX = struct.Struct("<4sI")
_REST = struct.Struct("<QQQqqIq4s")
_ENTRY = struct.Struct("<QQQq")


class SparseIndex:
    """Entries in the order of the log; the first frame of a segment always has one."""

    __slots__ = (
        "_indexes",
        "_interval",
        "_offsets",
        "_positions",
        "_skipped",
        "_times",
        "base_index",
        "covered",
        "first_seen",
        "last_index",
        "max_append_time",
        "max_timestamp",
    )

    def __init__(self, base_index: int, interval_bytes: int) -> None:
        self.base_index = base_index
        self.covered = SEGMENT_HEADER_BYTES
        self.last_index = base_index - 1
        self.max_timestamp = NEVER
        self.max_append_time = NEVER
        self.first_seen = 0
        self._interval = interval_bytes
        self._indexes = array("Q")
        self._offsets = array("Q")
        self._positions = array("Q")
        self._times = array("q")
        self._skipped = False

    def skip(self, last_index: int, position: int) -> None:
        """Frames up to ``last_index``, which end at ``position``, cannot be read; the next has an entry."""
        self.covered, self.last_index = position, last_index
        self.max_timestamp = ANY_TIME
        self._skipped = True

    def add(
        self,
        index: int,
        first_offset: int,
        size: int,
        max_timestamp: int,
        append_time: int,
        last_index: int | None = None,
    ) -> None:
        """Take in the frame that stands at ``covered``; of a gap ``last_index`` is not its own."""
        if not self._positions or self._skipped or self.covered - self._positions[-1] >= self._interval:
            self._skipped = False
            self._indexes.append(index)
            self._offsets.append(first_offset)
            self._positions.append(self.covered)
            self._times.append(self.max_timestamp)
        self.covered += size
        self.last_index = index if last_index is None else last_index
        self.max_timestamp = max(self.max_timestamp, max_timestamp)
        self.max_append_time = max(self.max_append_time, append_time)

    def at_index(self, index: int) -> tuple[int, int]:
        """(index, position) of the last entry at or before the frame that holds an index."""
        return self._entry(bisect_right(self._indexes, index) - 1)

    def at_offset(self, offset: int) -> tuple[int, int]:
        """(index, position) of the last entry at or before the frame that holds an offset."""
        return self._entry(bisect_right(self._offsets, offset) - 1)

    def at_time(self, timestamp: int) -> tuple[int, int]:
        """(index, position) of an entry with nothing before it that reaches a timestamp."""
        return self._entry(max(0, bisect_left(self._times, timestamp) - 1))

    def cut(self, position: int) -> None:
        """Forget all from an entry before ``position`` on; ``covered`` says where to take in frames again."""
        keep = max(0, bisect_left(self._positions, position) - 1)
        self.covered = self._positions[keep] if keep < len(self._positions) else SEGMENT_HEADER_BYTES
        self.last_index = self._indexes[keep] - 1 if keep < len(self._indexes) else self.base_index - 1
        self.max_timestamp = self._times[keep] if keep < len(self._times) else NEVER
        for column in (self._indexes, self._offsets, self._positions, self._times):
            del column[keep:]

    def encode(self) -> bytes:
        """The content of the file."""
        rest = _REST.pack(
            self.base_index,
            self.covered,
            self.last_index,
            self.max_timestamp,
            self.max_append_time,
            len(self._indexes),
            self.first_seen,
            bytes(4),
        )
        rows = zip(self._indexes, self._offsets, self._positions, self._times, strict=True)
        body = rest + b"".join(_ENTRY.pack(*row) for row in rows)
        return _PREFIX.pack(MAGIC, google_crc32c.value(body)) + body

    @classmethod
    def decode(cls, data: bytes, *, base_index: int, size: int, interval_bytes: int) -> SparseIndex | None:
        """The index of a segment, or None when damaged, of another one, or covering more than ``size``."""
        if len(data) < HEADER_BYTES or data[:4] != MAGIC:
            return None
        if google_crc32c.value(data[8:]) != int.from_bytes(data[4:8], "little"):
            return None
        base, covered, last_index, latest, appended, count, seen, zeros = _REST.unpack_from(data, 8)
        if (
            base != base_index
            or covered > size
            or len(data) != HEADER_BYTES + count * _ENTRY.size
            or any(zeros)
        ):
            return None
        index = cls(base_index, interval_bytes)
        index.covered, index.last_index = covered, last_index
        index.max_timestamp, index.max_append_time = latest, appended
        index.first_seen = seen
        for row in _ENTRY.iter_unpack(data[HEADER_BYTES:]):
            index._indexes.append(row[0])
            index._offsets.append(row[1])
            index._positions.append(row[2])
            index._times.append(row[3])
        return index if index._is_plausible() else None

    def _is_plausible(self) -> bool:
        """Whether an index that passed its checksum makes sense: positions and indexes ascend in bounds."""
        if not self._positions:
            return self.covered == SEGMENT_HEADER_BYTES and self.last_index == self.base_index - 1
        return (
            self._positions[0] == SEGMENT_HEADER_BYTES
            and self._indexes[0] == self.base_index
            and self._positions[-1] < self.covered
            and self._indexes[-1] <= self.last_index
            and all(a < b for a, b in pairwise(self._positions))
            and all(a < b for a, b in pairwise(self._indexes))
        )

    def _entry(self, number: int) -> tuple[int, int]:
        if number < 0:
            return self.base_index, SEGMENT_HEADER_BYTES
        return self._indexes[number], self._positions[number]
