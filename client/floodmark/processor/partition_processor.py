"""One source partition and what is made of it: read, made and stored, after a failure from the position on.

What is made waits for the batch before it to be stored: so batches grow with how long storing takes, and the
next one is made meanwhile. While nothing is made of what is read, the position is stored by itself now and
then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

from floodmark.consumer.reader import BatchReader
from floodmark.errors import FeatureLevelNeeded, MethodNotAllowed, OutOfOrderSequence, StorageFull
from floodmark.format.record import Record
from floodmark.processor.options import RECORDS_AT_ONCE, Steps, records_of
from floodmark.processor.target import Target
from floodmark.producer.producer_batch import size_of

WAITING_BATCHES: Final = 2
"""No more is read while so many batches wait to be stored."""
_STEPS_AT_ONCE: Final = 500


class _Made:
    """What was made of the records before ``next_offset`` and behind what was made before; or nothing."""

    __slots__ = ("next_offset", "records", "size")

    def __init__(self, next_offset: int, records: list[Record]) -> None:
        self.next_offset = next_offset
        self.records = records
        self.size = sum(size_of(record) for record in records)


class PartitionProcessor:
    """One per source partition. ``read``: opens a reader of it from an offset on, None for its beginning."""

    def __init__(
        self,
        target: Target,
        read: Callable[[int | None], BatchReader],
        steps: Steps,
        *,
        batch_bytes: int,
        move_every_s: float,
    ) -> None:
        self._target = target
        self._read = read
        self._steps = steps
        self._batch_bytes = batch_bytes
        self._move_every_s = move_every_s
        self._reader: BatchReader | None = None
        self._stopped = False
        self._moves = True
        """Until the cluster says that it knows no positions without records."""
        self.records_read = 0
        self.records_stored = 0

    def stop(self) -> None:
        """Store what is made of the records that have arrived, and end."""
        self._stopped = True
        if self._reader is not None:
            self._reader.stop()

    async def run(self) -> None:
        """Take over, and process until there is no more to read. Raises what a step raises, and
        ``ProducerFenced`` as soon as another instance has taken over.
        """
        while not self._stopped:
            next_offset = await self._target.take_over()
            try:
                await self._process(next_offset)
            except OutOfOrderSequence:
                continue  # The partition has forgotten the producer: nothing of the batch is stored.
            return

    async def _process(self, next_offset: int | None) -> None:
        waiting = _Waiting(self._batch_bytes, self._move_every_s)
        storing = asyncio.create_task(self._store(waiting))
        making = asyncio.create_task(self._make(waiting, next_offset))
        try:
            await asyncio.wait((storing, making), return_when=asyncio.FIRST_EXCEPTION)
            for task in (storing, making):  # What storing fails with is what the caller has to know first.
                if task.done():
                    task.result()
        finally:
            for task in (storing, making):
                task.cancel()
            await asyncio.gather(storing, making, return_exceptions=True)

    async def _make(self, waiting: _Waiting, next_offset: int | None) -> None:
        reader = self._reader = self._read(next_offset)
        if self._stopped:
            reader.stop()
        async with contextlib.aclosing(aiter(reader)) as batches:
            async for batch in batches:
                found = batch.consumed()
                for at in range(0, len(found), _STEPS_AT_ONCE):
                    some = found[at : at + _STEPS_AT_ONCE]
                    for record, made in zip(some, await self._steps(some), strict=True):
                        self.records_read += 1
                        waiting.add(record.offset + 1, records_of(made, record))
                    await waiting.room()
        waiting.end()

    async def _store(self, waiting: _Waiting) -> None:
        while (made := await waiting.take()) is not None:
            if made.records:
                await self._target.store(made.records, made.next_offset)
                self.records_stored += len(made.records)
            elif self._moves:
                await self._move(made.next_offset)

    async def _move(self, next_offset: int) -> None:
        """It only saves the next instance work, so the program goes on without where it cannot be done."""
        try:
            await self._target.move(next_offset)
        except (FeatureLevelNeeded, MethodNotAllowed):
            self._moves = False
        except StorageFull:
            pass


class _Waiting:
    """What is made and not stored yet."""

    def __init__(self, batch_bytes: int, move_every_s: float) -> None:
        self._batch_bytes = batch_bytes
        self._move_every_s = move_every_s
        self._passed: int | None = None
        """Everything before it, and behind what was taken last, came to nothing; None where there is none."""
        self._pass_at = 0.0
        """When that is to be stored, on the loop's clock."""
        self._made: deque[_Made] = deque()
        self._size = 0
        self._ended = False
        self._changed = asyncio.Event()

    def add(self, next_offset: int, records: list[Record]) -> None:
        """What comes from one record. Of nothing there is nothing to store: the next batch passes it, or the
        position moves by itself when that is long in coming.
        """
        if records:
            self._passed = None
            made = _Made(next_offset, records)
            self._made.append(made)
            self._size += made.size
            self._changed.set()
        elif self._made:
            self._made[-1].next_offset = next_offset
        elif self._passed is None:
            self._passed = next_offset
            self._pass_at = asyncio.get_running_loop().time() + self._move_every_s
            self._changed.set()
        else:
            self._passed = next_offset

    def end(self) -> None:
        """There is no more."""
        self._ended = True
        self._changed.set()

    async def room(self) -> None:
        """Wait until not too much waits."""
        while self._size > WAITING_BATCHES * self._batch_bytes or len(self._made) > 2 * RECORDS_AT_ONCE:
            await self._change()

    async def take(self) -> _Made | None:
        """The next batch, as soon as there is anything; one without records where only the position moves;
        None at the end.
        """
        while not self._made:
            left_s = self._pass_at - asyncio.get_running_loop().time()
            if self._passed is not None and (self._ended or left_s <= 0):
                passed, self._passed = _Made(self._passed, []), None
                return passed
            if self._ended:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._passed is None else left_s):
                    await self._change()
        batch = self._made.popleft()
        while (
            self._made
            and batch.size + self._made[0].size <= self._batch_bytes
            and len(batch.records) + len(self._made[0].records) <= RECORDS_AT_ONCE
        ):
            following = self._made.popleft()
            batch.records += following.records
            batch.size += following.size
            batch.next_offset = following.next_offset
        self._size -= batch.size
        self._changed.set()
        return batch

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
