"""A partition that a member reads: fetched ahead of the program, with how far the program is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from floodmark.consumer.consumed import ReadBatch
from floodmark.consumer.fetcher import Fetcher, FetchOptions
from floodmark.errors import FloodmarkError, OffsetBelowStart, ServerError, UnknownTopic
from floodmark.groups.shapes import Assigned, GroupRecord, TopicPartition
from floodmark.pin import Pin
from floodmark.producer.memory import MemoryBudget
from floodmark.transport.http import Transport


class Arrival(msgspec.Struct, frozen=True):
    """What has come of a partition: batches, a gap, an error, or nothing more (``is_end``)."""

    owned: Owned
    batches: list[ReadBatch] = []
    size: int = 0
    gap: tuple[int, int] | None = None
    """Records ``first <= offset < next`` were removed before they were read."""
    error: FloodmarkError | None = None
    is_end: bool = False


class Owned:
    """One of them. ``at``: the offset of the record that the program has in hand, or will get next: all below
    is done with. None as long as that is not known."""

    __slots__ = (
        "_budget",
        "_options",
        "_pump",
        "_tell",
        "_transport",
        "at",
        "committed",
        "epoch",
        "has_ended",
        "is_gone",
        "place",
        "topic_id",
    )

    def __init__(self, assigned: Assigned, options: FetchOptions) -> None:
        self.place = TopicPartition(assigned.topic, assigned.partition)
        self.topic_id = assigned.topic_id
        self.epoch = assigned.epoch
        self._options = options
        self.at: int | None = options.start if isinstance(options.start, int) else None
        self.committed = self.at
        self.is_gone = False
        """It was given up, or taken away: nothing of it goes to the program any more."""
        self.has_ended = False
        self._pump: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Topic id and partition."""
        return self.topic_id, self.place.partition

    def start(self, transport: Transport, budget: MemoryBudget, tell: Callable[[Arrival], None]) -> None:
        """Fetch from now on; ``tell`` is called with what arrives."""
        self._transport = transport
        self._budget = budget
        self._tell = tell
        self._pump = asyncio.create_task(self._fetch())

    def stop(self) -> asyncio.Task[None] | None:
        """Fetch no more. Returns the task that ends by it."""
        self.is_gone = True
        if self._pump is not None:
            self._pump.cancel()
        return self._pump

    async def _fetch(self) -> None:
        try:
            await self._read()
        except UnknownTopic:
            pass  # It was deleted: the group will say so.
        except FloodmarkError as error:
            self._tell(Arrival(self, error=error))
        except Exception as error:
            self._tell(Arrival(self, error=ServerError(f"{type(error).__name__}: {error}")))
            raise

    async def _read(self) -> None:
        fetcher = await self._open(self._options)
        if self.at is None and self._options.start == "latest":
            # Committed soon, so that whoever goes on after this member misses nothing from here on.
            self.at = fetcher.position
        while True:
            try:
                found = await fetcher.next()
            except OffsetBelowStart as error:
                first, start = fetcher.position, error.fields.get("log_start_offset")
                if first is None or not isinstance(start, int):
                    raise
                self._tell(Arrival(self, gap=(first, start)))
                fetcher = await self._open(msgspec.structs.replace(self._options, start=start))
                continue
            if found is None:
                self._tell(Arrival(self, is_end=True))
                return
            batches, size = found
            await self._budget.take(size, timeout_s=None)
            self._tell(Arrival(self, batches, size))

    async def _open(self, options: FetchOptions) -> Fetcher:
        topic, number = self.place
        fetcher = Fetcher(self._transport, topic, number, options, Pin(self.topic_id))
        await fetcher.open()
        return fetcher


async def stop_all(owned: Iterable[Owned]) -> None:
    """Returns once nothing of them is fetched any more."""
    tasks = [task for one in owned if (task := one.stop()) is not None]
    await asyncio.gather(*tasks, return_exceptions=True)


class Chunk:
    """Records of one batch, ready for the program."""

    __slots__ = ("next_offset", "owned", "records")

    def __init__(self, owned: Owned, batch: ReadBatch) -> None:
        self.owned = owned
        self.records = _records(owned.place.topic, batch)
        self.next_offset = batch.next_offset


def _records(topic: str, batch: ReadBatch) -> list[GroupRecord]:
    partition, append_time = batch.partition, batch.append_time
    return [
        GroupRecord(
            partition,
            offset,
            record.timestamp,
            append_time,
            record.key,
            record.value,
            record.is_json,
            record.pairs,
            topic,
        )
        for offset, record in zip(batch.offsets, batch.records, strict=True)
    ]
