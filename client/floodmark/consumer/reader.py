"""Reading a topic: one partition or all of them, fetched ahead of the consumer within a budget of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Final, Self

import msgspec

from floodmark.admin.topics import Topics
from floodmark.consumer.consumed import ConsumedRecord, ReadBatch
from floodmark.consumer.fetcher import Fetcher, FetchOptions
from floodmark.errors import FloodmarkError, InvalidRequest, NotUsable, ServerError
from floodmark.pin import Pin
from floodmark.producer.memory import MemoryBudget
from floodmark.transport.http import Transport

_FETCH_BYTES_MIN: Final = 64 << 10
_FETCH_BYTES_MAX: Final = 4 << 20


class _FetchResult(msgspec.Struct, frozen=True):
    """The result of one fetch from one partition: batches, an error, or neither at its end."""

    batches: list[ReadBatch]
    size: int
    error: FloodmarkError | None = None
    stops: bool = False
    """The reader was asked to stop."""


class BatchReader:
    """Batches in order of offset within each partition, partitions as they come. Made by ``read_batches``.

    Iterate it once: ``async for batch in reader``. It stops fetching when the loop is left, at ``aclose()``,
    at the end of ``async with``, and when the client is closed.
    """

    def __init__(
        self,
        transport: Transport,
        topics: Topics,
        topic: str,
        partition: int | None,
        options: FetchOptions,
        *,
        prefetch_bytes: int,
        topic_id: int | None = None,
        idle_s: float | None = None,
    ) -> None:
        if idle_s is not None and not idle_s > 0:
            raise InvalidRequest(f"idle_s is a number of seconds above 0, not {idle_s!r}")
        self._transport = transport
        self._topics = topics
        self._topic = topic
        self._partition = partition
        self._options = options
        self._pin = Pin(topic_id)
        self._budget = MemoryBudget(prefetch_bytes)
        self._arrived: asyncio.Queue[_FetchResult] = asyncio.Queue()
        self._fetchers: list[Fetcher] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._closed = False
        self._stopped = False
        self._idle_s = idle_s

    @property
    def topic_id(self) -> int | None:
        """The topic that is read, and no other that has its name later; None before the first answer."""
        return self._pin.topic_id

    async def open(self) -> None:
        """Fix where each partition is read from; ``async with`` and the loop call this. Raises
        ``UnknownTopic``."""
        self._transport.home.check()
        if self._fetchers:
            return
        partitions = [self._partition] if self._partition is not None else await self._all_partitions()
        share = self._budget.limit // (2 * len(partitions))
        options = msgspec.structs.replace(
            self._options, max_bytes=max(_FETCH_BYTES_MIN, min(_FETCH_BYTES_MAX, share))
        )
        fetchers = [
            Fetcher(self._transport, self._topic, partition, options, self._pin) for partition in partitions
        ]
        await asyncio.gather(*(fetcher.open() for fetcher in fetchers))
        self._fetchers = fetchers

    async def _all_partitions(self) -> list[int]:
        topic = await self._topics.describe(
            self._topic, topic_id=self._pin.topic_id, timeout_s=self._options.timeout_s
        )
        self._pin.topic_id = topic.topic_id
        return [partition.partition for partition in topic.partitions]

    async def _pump(self, fetcher: Fetcher) -> None:
        try:
            while (found := await fetcher.next()) is not None:
                batches, size = found
                await self._budget.take(size, timeout_s=None)
                self._arrived.put_nowait(_FetchResult(batches, size))
            self._arrived.put_nowait(_FetchResult([], 0))
        except FloodmarkError as error:
            self._arrived.put_nowait(_FetchResult([], 0, error))
        except Exception as error:
            self._arrived.put_nowait(_FetchResult([], 0, ServerError(f"{type(error).__name__}: {error}")))
            raise

    async def __aiter__(self) -> AsyncGenerator[ReadBatch, None]:
        self._transport.home.check()
        if self._closed and not self._pumps:
            raise NotUsable("this reader is closed", sent=False)
        if self._pumps:
            raise NotUsable("a reader is iterated once; open another one", sent=False)
        try:
            await self.open()
            self._pumps = [asyncio.create_task(self._pump(fetcher)) for fetcher in self._fetchers]
            unfinished = len(self._pumps)
            while unfinished:
                fetched = await self._next()
                if fetched is None or fetched.stops:
                    return
                if fetched.error is not None:
                    raise fetched.error
                unfinished -= not fetched.batches
                for batch in fetched.batches:
                    yield batch
                self._budget.give(fetched.size)
        finally:
            await self.aclose()

    async def _next(self) -> _FetchResult | None:
        """None when nothing has come for ``idle_s``."""
        try:
            async with asyncio.timeout(self._idle_s if self._arrived.empty() else None):
                return await self._arrived.get()
        except TimeoutError:
            return None

    def stop(self) -> None:
        """Have the loop end by itself, after what has arrived; for another task of the same event loop."""
        if not self._stopped and not self._closed:
            self._stopped = True
            self._arrived.put_nowait(_FetchResult([], 0, stops=True))

    async def aclose(self) -> None:
        """Stop fetching. A loop that waits for records ends with ``TransportError``."""
        if not self._closed and self._transport.home.is_here:
            self._closed = True
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            self._arrived.put_nowait(_FetchResult([], 0, NotUsable("the reader was closed", sent=False)))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class RecordReader:
    """Records one by one; otherwise like ``BatchReader``. Made by ``client.read``."""

    def __init__(self, batches: BatchReader) -> None:
        self._batches = batches

    async def __aiter__(self) -> AsyncIterator[ConsumedRecord]:
        try:
            async for batch in self._batches:
                for record in batch.consumed():
                    yield record
        finally:
            await self._batches.aclose()

    @property
    def topic_id(self) -> int | None:
        """The topic that is read, and no other that has its name later; None before the first answer."""
        return self._batches.topic_id

    def stop(self) -> None:
        """Have the loop end by itself, after what has arrived; for another task of the same event loop."""
        self._batches.stop()

    async def open(self) -> None:
        """Fix where each partition is read from."""
        await self._batches.open()

    async def aclose(self) -> None:
        """Stop fetching."""
        await self._batches.aclose()

    async def __aenter__(self) -> Self:
        await self._batches.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._batches.aclose()
