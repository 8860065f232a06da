"""Records that are not to be delivered before their time: many in one pair, so that there may be millions."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from node.coordinator.queues.run import KEY_BYTES, bits_of, bytes_of, indexes
from node.coordinator.queues.values import LeftValue, TimesValue

if TYPE_CHECKING:
    from node.coordinator.queues.share_partition import SharePartition

RECORDS_MAX: Final = 256
"""Of one pair: what comes due rewrites a bit for each. Places are bytes, so it cannot be more."""
GROWS_UP_TO: Final = 64
"""Records that come in one by one are added to the last pair up to here, which writes it again."""

SPAN: Final = 256
"""Offsets among which few pairs have records, as neighbours share one."""

Delayed = tuple[int, int, int]
"""A record: its offset, the hash of its key, and when it is due."""


class Times:
    """``open``: which records still wait, by their place in the pair. ``next_ms``: when it is looked at."""

    __slots__ = ("_due", "_keys", "_offsets", "_order", "_told", "base", "count", "next_ms", "open", "share")

    def __init__(self, share: SharePartition, base: int, value: TimesValue) -> None:
        self.share = share
        self.base = base
        self.count = 0
        self.open = 0
        self.next_ms: int | None = None
        self.grow(value)

    def grow(self, value: TimesValue) -> None:
        """It is stored again, with more records behind those that it had."""
        self.open |= (1 << value.count) - (1 << self.count)
        self.count = value.count
        self._offsets, self._due, self._keys = value.offsets, value.due, value.keys
        self._order: bytes | None = None
        self._told = 0

    def left(self, value: LeftValue) -> int:
        """Only these are left: the bits of the ones that are not any more."""
        left = bits_of(value.open, self.count)
        gone, self.open = self.open & ~left, self.open & left
        return gone

    def __contains__(self, offset: int) -> bool:
        index = offset - self.base
        if self._offsets:
            away = self._away()
            index = bisect_left(away, index)
            if index == self.count or away[index] != offset - self.base:
                return False
        return 0 <= index < self.count and bool(self.open >> index & 1)

    def spans(self) -> Collection[int]:
        """The numbers of the spans of ``SPAN`` offsets in which it has records, open or not."""
        if not self._offsets:
            return range(self.base // SPAN, (self.base + self.count - 1) // SPAN + 1)
        return {(self.base + each) // SPAN for each in self._away()}

    def _away(self) -> Sequence[int]:
        return struct.unpack(f">{self.count}I", self._offsets)

    def offset(self, index: int) -> int:
        """Of a record by its place in the pair."""
        if not self._offsets:
            return self.base + index
        return self.base + int.from_bytes(self._offsets[4 * index : 4 * index + 4])

    def key(self, index: int) -> int:
        """The hash of its key; 0: none."""
        return int.from_bytes(self._keys[index * KEY_BYTES : (index + 1) * KEY_BYTES])

    def due(self, index: int) -> int:
        """When it may be delivered."""
        return int.from_bytes(self._due[8 * index : 8 * index + 8])

    def first_due(self) -> int:
        """The earliest time at which one of the records was due, open or not."""
        return int(min(struct.unpack(f">{self.count}Q", self._due)))

    def all_due(self, now_ms: int) -> Iterator[int]:
        """The places of open records that are due and were not told yet, the earliest first."""
        order = self._order
        if order is None:
            due = struct.unpack(f">{self.count}Q", self._due)
            order = self._order = bytes(sorted(range(self.count), key=due.__getitem__))
        while self._told < self.count:
            index = order[self._told]
            if self.due(index) > now_ms:
                return
            self._told += 1
            if self.open >> index & 1:
                yield index

    def next_due(self) -> int | None:
        """When the next one is due, after all that were told."""
        assert self._order is not None, "some were told"
        return self.due(self._order[self._told]) if self._told < self.count else None

    def below(self, offset: int) -> int:
        """The bits of open records below an offset."""
        bits = 0
        if self.base >= offset:
            return bits
        if self.offset(self.count - 1) < offset:
            return self.open
        for index in indexes(self.open):
            if self.offset(index) >= offset:
                break
            bits |= 1 << index
        return bits

    def records(self) -> list[Delayed]:
        """All that were ever in it, in order."""
        return [(self.offset(index), self.key(index), self.due(index)) for index in range(self.count)]


def times_value(records: Sequence[Delayed]) -> TimesValue:
    """As stored; in order of offset."""
    base, count = records[0][0], len(records)
    away = [offset - base for offset, _, _ in records]
    return TimesValue(
        count=count,
        offsets=b"" if away[-1] == count - 1 else struct.pack(f">{count}I", *away),
        due=struct.pack(f">{count}Q", *[due for _, _, due in records]),
        keys=struct.pack(f">{count}Q", *[key for _, key, _ in records])
        if any(r[1] for r in records)
        else b"",
    )


def left_value(bits: int) -> LeftValue:
    """As stored; not for none."""
    return LeftValue(open=bytes_of(bits))
