"""All partitions of a source and what is made of them. Made by ``client.process``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from floodmark.admin.topics import Topic, Topics
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.consumer.reader import BatchReader
from floodmark.errors import InvalidRequest, NotUsable
from floodmark.format.names import check_name
from floodmark.format.position import Source
from floodmark.processor.options import Made, ProcessOptions, Step, Steps
from floodmark.processor.partition_processor import PartitionProcessor
from floodmark.processor.target import Target
from floodmark.producer.options import CODECS
from floodmark.transport.http import Transport

Read = Callable[[int, int | None, int], BatchReader]
"""A reader of a source partition: (partition, offset or None for its beginning, topic id)."""


class Processed(NamedTuple):
    """What a run has done: records that it read, repeated ones included, and records that it stored."""

    records_read: int
    records_stored: int


class Processor:
    """``await processor.run()``, or for short ``await client.process(...)``. It runs once."""

    def __init__(
        self,
        transport: Transport,
        topics: Topics,
        read: Read,
        names: tuple[str, str],
        group: str,
        steps: Steps,
        options: ProcessOptions,
        *,
        timeout_s: float,
    ) -> None:
        if names[0] == names[1]:
            raise InvalidRequest("a processor stores in another topic than it reads: it would never end")
        self._transport = transport
        self._topics = topics
        self._read = read
        self._source, self._target = map(check_name, names)
        self._group = check_name(group)
        self.steps = steps
        """How the step is run; to be changed only before ``run``."""
        self._options = options
        self._timeout_s = timeout_s
        self._partitions: list[PartitionProcessor] = []
        self._begun = self._stopped = False

    def stop(self) -> None:
        """Have ``run`` return once all that was made is stored; for another task of the same event loop."""
        self._stopped = True
        for each in self._partitions:
            each.stop()

    async def run(self) -> Processed:
        """Process each partition into the one of the same number, from where the last instance came to.

        It returns after ``stop()``, or without ``follow`` at what was stored when it began. When it raises
        anything or is cancelled, the next one goes on exactly behind what is stored. Raises what a step
        raises; ``ProducerFenced`` when another instance has taken a partition over; ``InvalidRequest`` where
        the target has fewer partitions; ``OffsetBelowStart`` where retention has removed records of the
        source before they were processed; ``TopicDeleted``, ``FeatureLevelNeeded``, ``TooLarge``, and what a
        request comes to that has failed for ``timeout_s``.
        """
        self._transport.home.check_new()
        if self._begun:
            raise NotUsable("a processor runs once: make another one", sent=False)
        self._begun = True
        source, target = await asyncio.gather(*map(self._described, (self._source, self._target)))
        numbers = _checked(source, target, self._options.partitions)
        self._partitions = [self._partition(source, target, number) for number in numbers]
        if self._stopped:
            self.stop()
        tasks = [asyncio.create_task(each.run()) for each in self._partitions]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Processed(
            sum(each.records_read for each in self._partitions),
            sum(each.records_stored for each in self._partitions),
        )

    def __await__(self) -> Generator[Any, None, Processed]:
        return self.run().__await__()

    async def _described(self, topic: str) -> Topic:
        return await self._topics.describe(topic, timeout_s=self._timeout_s)

    def _partition(self, source: Topic, target: Topic, number: int) -> PartitionProcessor:
        def read(offset: int | None) -> BatchReader:
            return self._read(number, offset, source.topic_id)

        options = self._options
        stored = Target(
            self._transport,
            self._target,
            number,
            Source(self._group, source.topic_id, number),
            topic_id=target.topic_id,
            codec=CODECS[options.compression],
            timeout_s=self._timeout_s,
        )
        return PartitionProcessor(
            stored, read, self.steps, batch_bytes=options.batch_bytes, move_every_s=options.position_every_s
        )


def each_of(step: Step) -> Steps:
    """Runs a step on the event loop, of one partition in the records' order."""

    async def steps(records: Sequence[ConsumedRecord]) -> list[Made]:
        found: list[Made] = []
        for record in records:
            made = step(record)
            found.append(await made if inspect.isawaitable(made) else made)
        await asyncio.sleep(0)
        return found

    return steps


def _checked(source: Topic, target: Topic, wanted: Sequence[int] | None) -> Sequence[int]:
    there = len(source.partitions)
    if len(target.partitions) < there:
        raise InvalidRequest(
            f"topic {target.name!r} has {len(target.partitions)} partitions and {source.name!r} has {there}: "
            "each is processed into the one of its number, so add partitions"
        )
    if wanted is None:
        return range(there)
    if strange := [number for number in wanted if not 0 <= number < there]:
        raise InvalidRequest(f"topic {source.name!r} has partitions 0 to {there - 1}, not {strange[0]}")
    return sorted(set(wanted))
