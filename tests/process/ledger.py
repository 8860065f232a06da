"""Numbered records: what was sent, what was acknowledged where, and what can be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import floodmark
from floodmark.errors import FloodmarkError
from floodmark.producer.produced import Ack

_WINDOW = 2_000
"""Records that are sent and not settled at most."""


@dataclass(slots=True)
class Ledger:
    """What one producer knows of its records."""

    topic: str
    partitions: int
    record_bytes: int = 200
    rest_s: float = 0.0
    """How long it waits after every hundred records."""
    sent: int = 0
    acknowledged: dict[int, tuple[int, int]] = field(default_factory=dict)
    """number -> (partition, offset)"""
    unsettled: dict[int, str] = field(default_factory=dict)
    """number -> why it is not known to be stored"""
    _progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    def value(self, number: int) -> bytes:
        """The record of a number: self-describing, and different in every byte position's context."""
        text = b"%d|" % number
        return text + bytes((number + i) & 0xFF for i in range(16)) * ((self.record_bytes - len(text)) // 16)

    @contextlib.asynccontextmanager
    async def writing(self, urls: list[str]) -> AsyncIterator[None]:
        """Write all the time while the body runs; on leaving, every record is settled."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._write(urls, stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def wait_acknowledged(self, more: int, *, deadline_s: float = 60) -> None:
        """Wait until that many more records are acknowledged than now: the cluster makes progress."""
        target = len(self.acknowledged) + more
        async with asyncio.timeout(deadline_s), self._progress:
            await self._progress.wait_for(lambda: len(self.acknowledged) >= target)

    async def _write(self, urls: list[str], stop: asyncio.Event) -> None:
        async with floodmark.Client(urls) as client:
            producer = client.producer(self.topic, linger_ms=2, delivery_timeout_s=60)
            pending: list[tuple[int, Ack]] = []
            try:
                while not stop.is_set():
                    number = self.sent
                    self.sent += 1
                    ack = await producer.send(self.value(number), partition=number % self.partitions)
                    pending.append((number, ack))
                    if self.rest_s and number % 100 == 0:
                        await asyncio.sleep(self.rest_s)
                    if len(pending) >= _WINDOW:
                        await self._settle(pending[: _WINDOW // 2])
                        del pending[: _WINDOW // 2]
            finally:
                await self._settle(pending)
                await producer.close()

    async def _settle(self, pending: list[tuple[int, Ack]]) -> None:
        for number, ack in pending:
            try:
                self.acknowledged[number] = tuple(await ack)
            except FloodmarkError as error:
                self.unsettled[number] = f"{error.code}: {error}"
        async with self._progress:
            self._progress.notify_all()

    async def check(self, urls: list[str]) -> None:
        """Every acknowledged record is there exactly once, at its offset; in order, and without gaps."""
        seen: dict[int, tuple[int, int]] = {}
        async with floodmark.Client(urls) as client:
            for partition in range(self.partitions):
                expected_offset, last_number = 0, -1
                async for record in client.read(self.topic, partition):
                    assert record.offset == expected_offset, f"offset {expected_offset} is missing"
                    expected_offset += 1
                    number = int(record.value.split(b"|", 1)[0])
                    assert record.value == self.value(number), f"record {number} is damaged"
                    assert number not in seen, f"record {number} is stored twice"
                    assert number > last_number, f"record {number} stands behind {last_number}"
                    seen[number], last_number = (partition, record.offset), number
        lost = sorted(set(self.acknowledged) - set(seen))
        assert not lost, f"{len(lost)} acknowledged records are lost, the first: {lost[:10]}"
        moved = [number for number, place in self.acknowledged.items() if seen[number] != place]
        assert not moved, f"{len(moved)} records are not at the offset they were acknowledged at"
        foreign = sorted(set(seen) - set(self.acknowledged) - set(self.unsettled))
        assert not foreign, f"records that nobody sent: {foreign[:10]}"
