"""Clients with default retries that produce to every partition of a topic, one record at a time each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import floodmark
from floodmark.errors import FloodmarkError

from bench.payload import payload

RECORD_BYTES = 1024


class Clients:
    """``run`` ends when it is told to, once every partition was written to at least once."""

    def __init__(self, urls: Sequence[str], topic: str, partitions: int, count: int) -> None:
        self.count = count
        self.acknowledged = 0
        self.failed: list[str] = []
        """What the client raised, after all that it tries by itself."""
        self.longest_s = 0.0
        """The longest time that one record took until it was acknowledged."""
        self.stop = asyncio.Event()
        self._urls = urls
        self._topic = topic
        self._partitions = partitions
        self._value = payload(RECORD_BYTES)

    async def run(self) -> None:
        """All clients together."""
        await asyncio.gather(*(self._client(number) for number in range(self.count)))

    async def _client(self, number: int) -> None:
        mine = range(number, self._partitions, self.count)
        async with floodmark.Client(self._urls) as client:
            for turn, partition in enumerate(itertools.cycle(mine)):
                if self.stop.is_set() and turn >= len(mine):
                    return
                began = time.perf_counter()
                try:
                    await client.produce(self._topic, self._value, partition=partition)
                except FloodmarkError as error:
                    self.failed.append(f"partition {partition}: {error.code}: {error.detail}")
                else:
                    self.acknowledged += 1
                self.longest_s = max(self.longest_s, time.perf_counter() - began)
