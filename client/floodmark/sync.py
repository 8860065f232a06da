"""The same client for programs without an event loop: ``floodmark.sync.Client``.

Everything here hands its work to the asyncio client on a loop of its own, in a background thread. Its methods
take the same arguments, wait, and raise the same errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from floodmark import client as asynchronous
from floodmark.admin.blocking import Acls, Quotas
from floodmark.admin.cluster import Cluster, Node
from floodmark.admin.topics import Topic
from floodmark.admin.topics import Topics as AsyncTopics
from floodmark.consumer.consumed import ConsumedRecord, ReadBatch
from floodmark.consumer.fetcher import Bounds
from floodmark.consumer.reader import BatchReader
from floodmark.groups.consumer import GroupConsumer
from floodmark.groups.sync_groups import Consuming, Groups
from floodmark.keywords import (
    OfClient,
    OfConsume,
    OfProcess,
    OfProduce,
    OfProducer,
    OfRead,
    OfRecord,
    OfRecords,
    OfTopic,
    OfTopicId,
    OfWorker,
    Within,
)
from floodmark.loop_thread import LoopThread
from floodmark.processor.options import BlockingStep, Made
from floodmark.processor.processor import Processed
from floodmark.processor.processor import Processor as AsyncProcessor
from floodmark.producer.produced import Ack, AckList, Produced
from floodmark.producer.producer import Producer as AsyncProducer
from floodmark.queues.queue import Queue as AsyncQueue
from floodmark.queues.sync_queues import Job, Jobs, Queue, Queues

__all__ = [
    "BlockingAck",
    "Client",
    "Consuming",
    "Groups",
    "Job",
    "Jobs",
    "Processor",
    "Producer",
    "Queue",
    "Queues",
    "Reading",
    "Topics",
]

T = TypeVar("T")
R = TypeVar("R")


class Client:
    """See ``floodmark.Client``."""

    def __init__(
        self, urls: str | Sequence[str] = asynchronous.DEFAULT_URL, **options: Unpack[OfClient]
    ) -> None:
        self._client = asynchronous.Client(urls, **options)
        self._thread = LoopThread()
        self.topics = Topics(self._thread, self._client.topics)
        self.acls = Acls(self._thread.wait, self._client.acls)
        self.quotas = Quotas(self._thread.wait, self._client.quotas)
        self.groups = Groups(self._thread, self._client.groups)
        self.queues = Queues(self._thread, self._client.queues)

    def produce(self, topic: str, value: Any, **options: Unpack[OfProduce]) -> Produced:
        """Store one record and say where."""
        return self._thread.wait(self._client.produce(topic, value, **options))

    def producer(self, topic: str, **options: Unpack[OfProducer]) -> Producer:
        """A producer that batches."""

        async def make() -> AsyncProducer:
            return self._client.producer(topic, **options)

        return Producer(self._thread, self._thread.wait(make()))

    def read(
        self, topic: str, partition: int | None = None, **options: Unpack[OfRead]
    ) -> Reading[ConsumedRecord]:
        """Records of one partition, or of all. ``stop()``, from any thread, ends the reading."""
        batches = self.read_batches(topic, partition, **options)
        return Reading(
            self._thread, batches.reader, (record for batch in batches for record in batch.consumed())
        )

    def read_batches(
        self, topic: str, partition: int | None = None, **options: Unpack[OfRead]
    ) -> Reading[ReadBatch]:
        """Like ``read``, by whole batches."""

        async def make() -> BatchReader:
            return self._client.read_batches(topic, partition, **options)

        reader = self._thread.wait(make())
        return Reading(self._thread, reader, self._batches(reader))

    def _batches(self, reader: BatchReader) -> Iterator[ReadBatch]:
        batches: AsyncIterator[ReadBatch] = aiter(reader)

        async def following() -> ReadBatch | None:
            return await anext(batches, None)

        try:
            while (batch := self._thread.wait(following())) is not None:
                yield batch
        finally:
            if self._thread.is_running:  # else closing the client has closed it
                self._thread.wait(reader.aclose())

    def process(
        self, source: str, target: str, *, group: str, step: BlockingStep, **options: Unpack[OfProcess]
    ) -> Processor:
        """Make records of one topic into records of another, exactly once: ``run()`` does it.

        ``step`` is called in one thread, which is not the caller's.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="floodmark-step")

        def each(records: Sequence[ConsumedRecord]) -> list[Made]:
            return [step(record) for record in records]

        async def steps(records: Sequence[ConsumedRecord]) -> list[Made]:
            return await asyncio.get_running_loop().run_in_executor(thread, each, records)

        async def make() -> AsyncProcessor:
            processor = self._client.process(source, target, group=group, step=step, **options)
            processor.steps = steps
            return processor

        return Processor(self._thread, self._thread.wait(make()), thread)

    def consume(
        self, topics: str | Sequence[str] | None = None, *, group: str, **options: Unpack[OfConsume]
    ) -> Consuming:
        """Records of topics, shared with all others who consume as ``group``."""

        async def make() -> GroupConsumer:
            return self._client.consume(topics, group=group, **options)

        return Consuming(self._thread, self._thread.wait(make()))

    def queue(self, queue: str, **options: Unpack[OfWorker]) -> Queue:
        """A queue, to work it off."""

        async def make() -> AsyncQueue:
            return self._client.queue(queue, **options)

        return Queue(self._thread, self._thread.wait(make()))

    def tail(self, topic: str, partition: int, **options: Unpack[OfTopicId]) -> Bounds:
        """What a partition holds right now."""
        return self._thread.wait(self._client.tail(topic, partition, **options))

    def cluster(self, **options: Unpack[Within]) -> Cluster:
        """The cluster as the node that answers sees it."""
        return self._thread.wait(self._client.cluster(**options))

    def nodes(self, **options: Unpack[Within]) -> list[Node]:
        """All nodes, in order of id."""
        return self._thread.wait(self._client.nodes(**options))

    def close(self) -> None:
        """Stop readers, send what producers hold, close connections and end the thread."""
        if self._thread.is_running:
            try:
                self._thread.wait(self._client.close())
            finally:
                self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Reading(Iterator[R]):
    """The result of ``read`` and ``read_batches``: an iterator, and a context manager that closes it."""

    def __init__(self, thread: LoopThread, reader: BatchReader, items: Iterator[R]) -> None:
        self._thread = thread
        self._items = items
        self.reader = reader

    def __next__(self) -> R:
        return next(self._items)

    def stop(self) -> None:
        """End the reading as at the log's end, from any thread: what has arrived still comes."""

        async def stop() -> None:
            self.reader.stop()

        if self._thread.is_running:
            self._thread.wait(stop())

    def close(self) -> None:
        """Stop fetching; the thread that iterates calls it, or leaves the ``with`` block."""
        if self._thread.is_running:
            self._thread.wait(self.reader.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Processor:
    """See ``floodmark.Processor``."""

    def __init__(self, thread: LoopThread, processor: AsyncProcessor, steps: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._processor = processor
        self._steps = steps

    def run(self) -> Processed:
        """Process until ``stop()``, which another thread calls, or without ``follow`` to the end."""
        try:
            return self._thread.wait(self._processor.run())
        finally:
            self._steps.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Have ``run`` return once all that was made is stored."""

        async def stop() -> None:
            self._processor.stop()

        if self._thread.is_running:
            self._thread.wait(stop())


class Topics:
    """See ``floodmark.admin.topics.Topics``."""

    def __init__(self, thread: LoopThread, topics: AsyncTopics) -> None:
        self._thread = thread
        self._topics = topics

    def create(self, topic: str, **options: Unpack[OfTopic]) -> Topic:
        """Make a topic."""
        return self._thread.wait(self._topics.create(topic, **options))

    def ensure(self, topic: str, **options: Unpack[OfTopic]) -> Topic:
        """Create a topic unless it exists."""
        return self._thread.wait(self._topics.ensure(topic, **options))

    def describe(self, topic: str, **options: Unpack[OfTopicId]) -> Topic:
        """One topic with its partitions."""
        return self._thread.wait(self._topics.describe(topic, **options))

    def exists(self, topic: str, **options: Unpack[Within]) -> bool:
        """Whether a topic of this name exists."""
        return self._thread.wait(self._topics.exists(topic, **options))

    def list(self, prefix: str = "", **options: Unpack[Within]) -> Sequence[Topic]:
        """All topics whose names start with ``prefix``."""

        async def collect() -> Sequence[Topic]:
            return [topic async for topic in self._topics.list(prefix, **options)]

        return self._thread.wait(collect())

    def alter(self, topic: str, config: Mapping[str, Any], **options: Unpack[Within]) -> Topic:
        """Change some of the configuration."""
        return self._thread.wait(self._topics.alter(topic, config, **options))

    def delete(self, topic: str, **options: Unpack[OfTopicId]) -> None:
        """Remove a topic and its data."""
        self._thread.wait(self._topics.delete(topic, **options))


class BlockingAck(Generic[T]):
    """An acknowledgement that is waited for with ``result()``."""

    def __init__(self, thread: LoopThread, ack: Ack | AckList) -> None:
        self._thread = thread
        self._ack = ack

    def done(self) -> bool:
        """Whether ``result`` would answer at once."""
        return self._ack.done()

    def result(self) -> T:
        """Where it is stored, or the error; if that is known, also after the client is closed."""
        if self._ack.done():
            known: Any = (
                self._ack.result()
                if isinstance(self._ack, Ack)
                else [ack.result() for ack in self._ack.acks()]
            )
            return cast(T, known)

        async def wait() -> Any:
            return await self._ack

        result: T = self._thread.wait(wait())
        return result


class Producer:
    """See ``floodmark.Producer``."""

    def __init__(self, thread: LoopThread, producer: AsyncProducer) -> None:
        self._thread = thread
        self._producer = producer

    def send(self, value: Any, **options: Unpack[OfRecord]) -> BlockingAck[Produced]:
        """Accept one record."""
        return BlockingAck(self._thread, self._thread.wait(self._producer.send(value, **options)))

    def send_many(
        self, values: Sequence[Any], **options: Unpack[OfRecords]
    ) -> BlockingAck[Sequence[Produced]]:
        """Accept many records: far faster than one by one, because threads are switched once."""
        return BlockingAck(self._thread, self._thread.wait(self._producer.send_many(values, **options)))

    def flush(self) -> None:
        """Wait until every accepted record is settled."""
        self._thread.wait(self._producer.flush())

    def close(self) -> None:
        """Send all accepted records, and end."""
        self._thread.wait(self._producer.close())

    def __enter__(self) -> Self:
        self._thread.wait(self._producer.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.wait(self._producer.__aexit__(kind, error, trace))
