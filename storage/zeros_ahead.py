"""Zeros behind the last frame of a log that grows by little: its syncs need not change the file's size.

An fdatasync after a write within a file that has its blocks, and its size, writes the data and nothing else;
where the file grew, or a block is written to for the first time, the filesystem's journal is written and
waited for besides. So once a log was written to by little some times in a row, zeros are written ahead of it,
and made durable with the next sync. Space that is only reserved (``fallocate``) does not do: each block of it
changes the journal again when it is first written to.

Zeros are never data: no frame begins with them. Recovery cuts them as any torn write, ``Segment.size``
does not count them, and a segment ends behind its last frame before another one follows it.
"""

from __future__ import annotations

from typing import Final

from storage.filesystem import File, write_all

SMALL_BYTES: Final = 16 << 10
"""A write up to this is a small one. Larger ones gain little by zeros ahead, and would be written twice."""
_PAGE_BYTES: Final = 4096
SMALL_RUN: Final = 4
"""So many small writes in a row begin it: the no-op of every new leader should not take up space."""


class ZerosAhead:
    """The zeros of the active segment. Used by the thread that writes."""

    __slots__ = ("_end", "_limit", "_run", "_step")

    def __init__(self, step: int, limit: int) -> None:
        self._step = step
        self._limit = limit
        self._run = 0
        self._end = 0
        """Position in the file behind the zeros; at most ``size`` of the segment when there are none."""

    def wrote(self, file: File, start: int, end: int) -> None:
        """Frames were written from ``start`` to ``end``, the segment's end."""
        self._run = self._run + 1 if end - start <= SMALL_BYTES else 0
        if end >= self._end and self._run >= SMALL_RUN:
            self._write(file, end)

    def cut(self, file: File, size: int) -> None:
        """Let a file end behind its last frame; not durable before a sync. Raises ``OSError``."""
        if self._end > size:
            file.truncate(size)
        self._end = 0

    def forget(self) -> None:
        """The file was cut, or another one takes its place."""
        self._end = 0

    def _write(self, file: File, end: int) -> None:
        upto = min(end + self._step, self._limit)
        try:
            while end < upto:
                # To the end of a page each: one large write may become one large page, and the kernel counts
                # all of that as written to with every small frame that comes to lie in it.
                size = min(_PAGE_BYTES - end % _PAGE_BYTES, upto - end)
                self._end = end = write_all(file, [bytes(size)], end)
        except OSError:
            # Perhaps the disk is full. Frames do without, and have room themselves or will say so.
            self._run = 0
