"""Producers and a consumer that check a cluster's records while the cluster is changed.

Each producer is idempotent and has the default retries. It numbers its records for each partition; the
consumer reads all partitions as they grow and expects each number behind the one before: what is lost, stored
twice or out of order shows at once, and what is missing in the end as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import floodmark
from floodmark.errors import FloodmarkError
from floodmark.producer.produced import AckList

TOPIC: Final = "traffic"
_NUMBER: Final = struct.Struct(">HQ")
"""Producer, and the number of the record among those that it sent to the partition."""
_END_S: Final = 60.0
_SHOWN_MAX: Final = 10
"""Of failures, and of problems."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much traffic there is, for a benchmark's command line."""
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--megabytes", type=float, default=20.0, help="a second, of all producers together")


class Expected:
    """What a partition has to hold next of each producer."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.problems: list[str] = []
        self.seen: dict[int, int] = {}
        """Producer -> how many of its records came."""
        self._next_offset = 0

    def take(self, offset: int, value: bytes) -> None:
        """One record, as the consumer got it."""
        producer, number = _NUMBER.unpack_from(value)
        due, place = self.seen.get(producer, 0), f"partition {self.partition}, offset {offset}"
        if offset != self._next_offset:
            self.problems.append(f"{place}: read instead of {self._next_offset}")
        if number < due:
            self.problems.append(f"{place}: record {number} of producer {producer} came before")
        elif number > due:
            self.problems.append(
                f"{place}: records {due} to {number - 1} of producer {producer} did not come"
            )
        self.seen[producer] = max(due, number + 1)
        self._next_offset = offset + 1


@dataclass(slots=True)
class Traffic:
    """``bytes_per_s`` of all producers together; records are of ``record_bytes``, ``records`` to a batch."""

    urls: Sequence[str]
    partitions: int
    producers: int
    bytes_per_s: float
    record_bytes: int = 1024
    records: int = 64
    acknowledged: int = 0
    failures: list[str] = field(default_factory=list)
    """Sends and reads that failed, although they were tried again as the client does by itself."""
    failed_at: list[float] = field(default_factory=list)
    """When each of them did, on ``time.monotonic``."""
    acknowledged_at: list[list[float]] = field(init=False)
    """By partition: on ``time.monotonic``."""
    read: list[Expected] = field(init=False)
    _sent: dict[tuple[int, int], int] = field(default_factory=dict)
    _progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.acknowledged_at = [[] for _ in range(self.partitions)]
        self.read = [Expected(partition) for partition in range(self.partitions)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the body runs. In the end all is settled, and read as far as it was acknowledged."""
        stop = asyncio.Event()
        async with floodmark.Client(self.urls) as client:
            await client.topics.create(TOPIC, partitions=self.partitions, replication_factor=3)
            reading = [asyncio.create_task(self._consume(client, each)) for each in self.read]
            writing = [asyncio.create_task(self._produce(client, n, stop)) for n in range(self.producers)]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*writing)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_END_S), self._progress:
                        await self._progress.wait_for(lambda: self.consumed >= self.acknowledged)
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)

    @property
    def consumed(self) -> int:
        """How many records came to the consumer."""
        return sum(count for each in self.read for count in each.seen.values())

    @property
    def problems(self) -> list[str]:
        """What is wrong with what was read; in the end also what never came."""
        return [problem for each in self.read for problem in each.problems] + [
            f"partition {partition}: {sent} records of producer {producer} were sent, and {seen} came"
            for (producer, partition), sent in self._sent.items()
            if (seen := self.read[partition].seen.get(producer, 0)) != sent
        ]

    def told(self, seconds: float) -> str:
        """A summary for people: how much, how fast, and what is wrong."""
        rate = self.acknowledged * self.record_bytes / seconds / 1e6
        whole = (
            f"{self.acknowledged:,} records acknowledged and {self.consumed:,} read, {rate:.1f} MB/s; "
            f"{len(self.failures)} requests failed, {len(self.problems)} records lost, doubled or moved"
        )
        return "\n  ".join([whole, *self.failures[:_SHOWN_MAX], *self.problems[:_SHOWN_MAX]])

    async def wait_acknowledged(self, more: int, *, deadline_s: float = 60) -> None:
        """Until so many more records are acknowledged than now."""
        target = self.acknowledged + more
        async with asyncio.timeout(deadline_s), self._progress:
            await self._progress.wait_for(lambda: self.acknowledged >= target)

    def longest_gap_s(self, since: float, until: float) -> float:
        """The longest time between those in which one of the partitions acknowledged nothing."""
        return max(self.gaps_s(since, until))

    def gaps_s(self, since: float, until: float) -> list[float]:
        """Of each partition the longest time between those in which it acknowledged nothing."""
        return [
            max(
                after - before
                for before, after in itertools.pairwise(
                    [since, *(t for t in times if since < t < until), until]
                )
            )
            for times in self.acknowledged_at
        ]

    def failed(self, since: float, until: float) -> int:
        """How many requests failed between those."""
        return sum(since <= at < until for at in self.failed_at)

    async def _produce(self, client: floodmark.Client, producer: int, stop: asyncio.Event) -> None:
        pause_s = self.records * self.record_bytes * self.producers / self.bytes_per_s
        filler = bytes(self.record_bytes - _NUMBER.size)
        due, settling = time.monotonic(), set[asyncio.Task[None]]()
        async with client.producer(TOPIC) as out:
            for turn in itertools.count(producer):
                if stop.is_set():
                    break
                partition = turn % self.partitions
                first = self._sent.get((producer, partition), 0)
                self._sent[producer, partition] = first + self.records
                numbers = range(first, first + self.records)
                values = [_NUMBER.pack(producer, number) + filler for number in numbers]
                acks = await out.send_many(values, partition=partition)
                task = asyncio.create_task(self._settle(partition, acks))
                settling.add(task)
                task.add_done_callback(settling.discard)
                due = max(due + pause_s, time.monotonic() - pause_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await stop.wait()
            await asyncio.gather(*settling)

    async def _settle(self, partition: int, acks: AckList) -> None:
        try:
            await acks
        except FloodmarkError as error:
            self._failed(f"produce to {partition}: {error.code}: {error.detail}")
            return
        self.acknowledged += len(acks)
        self.acknowledged_at[partition].append(time.monotonic())
        await self._tell()

    async def _consume(self, client: floodmark.Client, expected: Expected) -> None:
        try:
            async for batch in client.read_batches(TOPIC, expected.partition, follow=True):
                for offset, record in zip(batch.offsets, batch.records, strict=True):
                    expected.take(offset, record.value or b"")
                await self._tell()
        except FloodmarkError as error:
            self._failed(f"read of {expected.partition}: {error.code}: {error.detail}")

    def _failed(self, what: str) -> None:
        self.failures.append(what)
        self.failed_at.append(time.monotonic())

    async def _tell(self) -> None:
        async with self._progress:
            self._progress.notify_all()
