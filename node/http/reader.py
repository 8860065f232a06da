"""Reading one or all partitions of a topic from a set of positions, wherever their leaders are."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Sequence
from typing import Final

from floodmark.errors import FloodmarkError, OffsetBelowStart, Unavailable

from node.broker import Partition, TopicInfo
from node.http import cursor
from node.http.context import HttpContext
from node.http.positions import is_offset
from node.http.reach import Found, read
from node.http.records_out import Slice, slices

_AT_ONCE: Final = 16
_WAITS_MAX: Final = 64
"""Partitions that one long poll waits on at once; with more, others are looked at every second."""
_SHARE_BYTES_MIN: Final = 64 << 10


class Reader:
    """Positions in some partitions of one topic, moved on by every ``read``."""

    def __init__(
        self,
        context: HttpContext,
        topic: TopicInfo,
        partitions: Sequence[Partition],
        specs: Sequence[str],
        *,
        by_cursor: bool,
    ) -> None:
        self._context = context
        self.topic_id = topic.topic_id
        self.by_cursor = by_cursor
        """Whether its reader goes on by cursor (all partitions) or by offset (one)."""
        self.partitions = partitions
        self._specs = list(specs)
        self.ends: dict[int, int] | None = None
        """Set to ``{}`` to read only what there is at the first look: the ends are then noted here."""
        self._shift = random.randrange(len(partitions))

    @property
    def offsets(self) -> list[int]:
        """Where each partition goes on; -1 where that is its beginning and not looked up."""
        return [int(spec) if is_offset(spec) else cursor.EARLIEST for spec in self._specs]

    async def pin(self) -> None:
        """Turn positions that would mean something else a moment later into offsets."""
        todo = [index for index, spec in enumerate(self._specs) if not is_offset(spec) and spec != "earliest"]
        for begin in range(0, len(todo), _AT_ONCE):
            group = todo[begin : begin + _AT_ONCE]
            for index, found in zip(group, await self._look(group, max_bytes=1), strict=True):
                if isinstance(found, FloodmarkError):
                    raise found
                self._specs[index] = str(found.start)

    async def read(self, *, max_bytes: int, max_records: int, wait_s: float) -> list[Slice]:
        """What comes next, from each partition in its order; empty when ``wait_s`` brought nothing.

        Raises ``OffsetBelowStart`` with a cursor that goes on behind the gap, ``OffsetPastEnd``, and
        ``Unavailable`` when nothing could be read and not every partition could be asked.
        """
        taken: list[Slice] = []
        failures: list[FloodmarkError] = []
        count = len(self.partitions)
        order = [(self._shift + step) % count for step in range(count)]
        self._shift += 1
        share = max(max_bytes // count, min(max_bytes, _SHARE_BYTES_MIN))
        for begin in range(0, count, _AT_ONCE):
            group = [index for index in order[begin : begin + _AT_ONCE] if not self._is_done(index)]
            for index, found in zip(group, await self._look(group, max_bytes=share), strict=True):
                if isinstance(found, FloodmarkError):
                    failures.append(found)
                elif max_bytes > 0 and max_records > 0:
                    new = self._take(index, found, max_records)
                    taken += new
                    max_records -= sum(len(part.records) for part in new)
                    max_bytes -= len(found.fetched.frames)
        if not taken and wait_s > 0 and max_records > 0:
            return await self._wait(max_bytes, max_records, wait_s)
        if not taken and failures:
            raise failures[0]
        return taken

    def _is_done(self, index: int) -> bool:
        spec = self._specs[index]
        return self.ends is not None and is_offset(spec) and int(spec) >= self.ends.get(index, 1 << 63)

    def _take(self, index: int, found: Found, limit: int) -> list[Slice]:
        """The records of one answer; the position moves behind them."""
        fetched = found.fetched
        end = None
        if self.ends is not None:
            end = self.ends.setdefault(index, fetched.bounds.high_watermark)
        number = self.partitions[index].number
        new = list(slices(fetched.frames, number, found.start, limit=limit, end=end))
        self._specs[index] = str(new[-1].next_offset if new else max(found.start, fetched.next_offset))
        return new

    async def _look(self, indexes: Sequence[int], *, max_bytes: int) -> list[Found | FloodmarkError]:
        if len(indexes) == 1:
            return [await self._guarded(indexes[0], self._ask(indexes[0], max_bytes, 0.0))]
        return await asyncio.gather(
            *(self._guarded(index, self._ask(index, max_bytes, 0.0)) for index in indexes)
        )

    def _ask(self, index: int, max_bytes: int, wait_s: float) -> Awaitable[Found]:
        return read(
            self._context, self.partitions[index], self._specs[index], max_bytes=max_bytes, wait_s=wait_s
        )

    async def _guarded(self, index: int, asked: Awaitable[Found]) -> Found | FloodmarkError:
        """Only a partition without a leader is passed over for the others' sake."""
        try:
            return await asked
        except Unavailable as error:
            return error
        except OffsetBelowStart as error:
            start = error.fields.get("log_start_offset")
            if isinstance(start, int) and self.by_cursor:
                offsets = self.offsets
                offsets[index] = start
                error.fields["cursor"] = cursor.encode(self.topic_id, offsets)
            error.fields["partition"] = self.partitions[index].number
            raise

    async def _wait(self, max_bytes: int, max_records: int, wait_s: float) -> list[Slice]:
        """Wait on the partitions at once, and take what the first ones that have something bring."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            waited = range(len(self.partitions))[:_WAITS_MAX]
            poll_s = left if len(self.partitions) <= _WAITS_MAX else min(left, 1.0)
            tasks = {
                asyncio.create_task(self._guarded(index, self._ask(index, max_bytes, poll_s))): index
                for index in waited
            }
            try:
                taken = await self._first(tasks, max_records, poll_s)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            if taken:
                return taken
            if len(self.partitions) > _WAITS_MAX:
                return await self.read(
                    max_bytes=max_bytes, max_records=max_records, wait_s=deadline - time.monotonic()
                )
            # Partitions without a leader fail at once; do not spin while the others wait.
            await asyncio.sleep(max(0.0, min(0.05, deadline - time.monotonic())))
        return []

    async def _first(
        self, tasks: dict[asyncio.Task[Found | FloodmarkError], int], max_records: int, wait_s: float
    ) -> list[Slice]:
        pending = set(tasks)
        deadline = time.monotonic() + wait_s + 1
        taken: list[Slice] = []
        while pending and not taken and time.monotonic() < deadline:
            done, pending = await asyncio.wait(
                pending, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                found = task.result()
                if isinstance(found, Found) and max_records > 0:
                    new = self._take(tasks[task], found, max_records)
                    taken += new
                    max_records -= sum(len(part.records) for part in new)
        return taken
