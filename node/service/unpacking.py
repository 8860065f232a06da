"""Stored frames to records, one batch at a time and a slice of it at a time.

A batch's header has its decompressed size, which is counted before anything is decompressed; large batches
are decompressed in a thread, few at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from floodmark.format.batch_slices import SLICE_BYTES
from floodmark.format.frame import FrameHeader, walk
from floodmark.format.frame_records import Slices, has_records, header_in, slices_in
from floodmark.format.record import Record

from node.service.answer_budget import Hold
from node.service.loop_share import LoopShare

AT_ONCE: Final = 2
"""How many large batches are decompressed at once, over all requests."""
_INLINE_BYTES: Final = 1 << 20
_INLINE_RECORDS: Final = 20_000
"""Opening a batch finds where each record ends: a quarter of a microsecond each in Kafka's format."""
_BYTES_PER_RECORD: Final = 64
"""Memory for noting where a record is in its batch."""


class Slice(NamedTuple):
    """Consecutive records of one partition that were appended together; None where one was removed."""

    partition: int
    first_offset: int
    append_time: int
    records: list[Record | None]

    @property
    def next_offset(self) -> int:
        """The offset after the last of them."""
        return self.first_offset + len(self.records)


class Unpacking:
    """The records of ``frames`` from offset ``start`` on and below ``end``.

    The frames are in ``hold`` already; ``close`` gives back all that is held for them.
    """

    def __init__(
        self,
        frames: bytes,
        partition: int,
        start: int,
        *,
        end: int | None,
        hold: Hold,
        large: asyncio.Semaphore,
        pages: LoopShare,
    ) -> None:
        self._frames: Iterator[tuple[FrameHeader, memoryview]] = walk(frames)
        self._partition = partition
        self._position = start
        self._end = 1 << 63 if end is None else end
        self._hold = hold
        self._large = large
        self._pages = pages
        self._frames_bytes = len(frames)
        self._batch_bytes = 0
        self._batch: Slices | None = None
        self._frame: FrameHeader | None = None

    async def next(self) -> Slice | None:
        """The next slice; None after the last one.

        Raises ``InvalidBatch``, ``TooNew``, and ``TooManyRequests`` where there is no room for what a batch
        grows to.
        """
        opens = False
        while True:
            frame, opened = self._frame, self._batch
            if frame is None or opened is None:
                if not await self._open():
                    return None
                opens = True
                continue
            first = max(self._position, frame.first_offset)
            last = min(frame.next_offset, self._end)
            if first < last and not opens:
                await self._pages.wait(SLICE_BYTES)
            taken = opened.take(first - frame.first_offset, last - frame.first_offset) if first < last else []
            if taken:
                self._position = first + len(taken)
                return Slice(self._partition, first, frame.append_time, taken)
            self._close_batch()

    async def _open(self) -> bool:
        """Open the next batch that has some of these records; False when there is none."""
        for frame, payload in self._frames:
            if not has_records(frame) or frame.next_offset <= self._position:
                continue
            if frame.first_offset >= self._end:
                return False
            header = header_in(frame, payload)
            grown = header.raw_length if header.codec else 0
            self._hold.more(grown + _BYTES_PER_RECORD * header.count)
            self._batch_bytes = grown + _BYTES_PER_RECORD * header.count
            await self._pages.wait(min(header.raw_length + _BYTES_PER_RECORD * header.count, SLICE_BYTES))
            if header.raw_length <= _INLINE_BYTES and header.count <= _INLINE_RECORDS:
                self._batch = slices_in(frame, payload, header)
            else:
                async with self._large:
                    self._batch = await asyncio.to_thread(slices_in, frame, payload, header)
            self._frame = frame
            return True
        return False

    def _close_batch(self) -> None:
        self._batch = self._frame = None
        self._hold.less(self._batch_bytes)
        self._batch_bytes = 0

    def close(self) -> None:
        """Release everything."""
        self._close_batch()
        self._frames = iter(())
        self._hold.less(self._frames_bytes)
        self._frames_bytes = 0
