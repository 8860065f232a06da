"""The bytes of one file in memory: what a reader sees now, and what a loss of power would leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

PAGE_BYTES = 512


class MemoryContent:
    """Current bytes, durable bytes, and the ranges in which they may differ.

    ``dirty`` ranges become durable with the next sync. ``lost`` ranges were dirty when a sync failed: they
    are readable, but as on Linux no later sync writes them, only a later write to them does.
    """

    __slots__ = ("current", "dirty", "durable", "lost")

    def __init__(self) -> None:
        self.current = bytearray()
        self.durable = bytearray()
        self.dirty: list[tuple[int, int]] = []
        self.lost: list[tuple[int, int]] = []

    def write(self, buffers: Sequence[bytes], position: int, limit: int) -> int:
        """Write up to ``limit`` bytes of ``buffers``; returns how many it were."""
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        if limit < len(data):
            data = data[:limit]
        if position > len(self.current):
            self.current.extend(bytes(position - len(self.current)))
        end = position + len(data)
        self.current[position:end] = data
        self._mark(position, end)
        return len(data)

    def truncate(self, size: int) -> None:
        """Set the size; new bytes are zero."""
        old = len(self.current)
        if size < old:
            del self.current[size:]
        else:
            self.current.extend(bytes(size - old))
        if size != old:
            self._mark(min(size, old), max(size, old))

    def sync(self) -> None:
        """Make the dirty ranges and the size durable."""
        current, durable = self.current, self.durable
        size = len(current)
        if len(durable) < size:
            durable.extend(bytes(size - len(durable)))
        for start, end in self.dirty:
            durable[start : min(end, size)] = current[start : min(end, size)]
        del durable[size:]
        self.dirty.clear()

    def fail_sync(self) -> None:
        """A sync that failed: nothing became durable, and the dirty ranges are clean from now on."""
        self.lost.extend(self.dirty)
        self.dirty.clear()

    def crash(self, random: Random) -> None:
        """Keep any subset of the pages that were not durable, and any size between the two."""
        if not self.dirty and not self.lost and len(self.current) == len(self.durable):
            return
        sizes = sorted((len(self.durable), len(self.current)))
        size = random.choice((sizes[0], sizes[1], random.randint(*sizes)))
        kept = random.choice((0.0, 0.5, 0.9, 1.0))
        after = bytearray(self.durable[:size])
        after.extend(bytes(size - len(after)))
        for start, end in self._pages(size):
            if random.random() < kept:
                after[start:end] = self.current[start:end].ljust(end - start, b"\0")
        self.current, self.durable = after, bytearray(after)
        self.dirty.clear()
        self.lost.clear()

    def flip_bit(self, position: int, bit: int) -> None:
        """Damage one bit, for readers now and after any crash."""
        for image in (self.current, self.durable):
            if position < len(image):
                image[position] ^= 1 << bit

    def set_durable(self, data: bytes) -> None:
        """Replace everything, as if it had always been so."""
        self.current, self.durable = bytearray(data), bytearray(data)
        self.dirty.clear()
        self.lost.clear()

    def _mark(self, start: int, end: int) -> None:
        if self.dirty and self.dirty[-1][1] == start:
            start = self.dirty.pop()[0]
        self.dirty.append((start, end))

    def _pages(self, size: int) -> Iterator[tuple[int, int]]:
        """The ranges that may differ, in pieces that do not cross a page, below ``size``."""
        for start, end in sorted(self.dirty + self.lost):
            at = start
            while at < min(end, size):
                stop = min(end, size, (at // PAGE_BYTES + 1) * PAGE_BYTES)
                yield at, stop
                at = stop
