"""Racers: conditional appends to one partition, each a single attempt; one racer wins each offset.

They ask each node in turn: a leader that was deposed without knowing it is asked as often as the others.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Final

import msgspec
from floodmark.errors import FloodmarkError, OffsetMismatch
from floodmark.format import batch
from floodmark.format.record import Record
from floodmark.format.values import now_ms
from floodmark.transport.http import BATCH_MEDIA_TYPE, Request

from chaos.checker.options import Place
from chaos.history import Produce, Produced
from chaos.record_value import encode, value_id
from chaos.workload.site import NODE_TIMEOUT_S, Rotation, Site, attempt, ticks

_INTERVAL_S: Final = 0.15
_MISSES: Final = (0, 0, 0, 0, 0, 0, 0, 0, 1, -1)
"""Added to the expected end: sometimes an offset that is certainly refused."""


class _Answer(msgspec.Struct):
    first_offset: int


class _Racer:
    """``end``: the offset after the last record, as far as this racer knows."""

    def __init__(self, site: Site, producer: int, place: Place, rng: random.Random) -> None:
        self._site = site
        self._producer = producer
        self._place = place
        self._rng = rng
        self._numbers = itertools.count()
        self._end = 0

    def next(self) -> Produce:
        """An append of one or two values at the end as far as it is known."""
        expected = max(0, self._end + self._rng.choice(_MISSES))
        count = self._rng.choice((1, 2))
        values = [value_id(self._producer, next(self._numbers)) for _ in range(count)]
        return Produce(*self._place, values, if_offset=expected)

    async def run(self, op: int, transport: Rotation, produce: Produce) -> None:
        """Make one attempt, recorded as ``op``, and learn the end from it."""
        recorder = self._site.recorder
        try:
            answer, node = await attempt(transport, self._request(produce))
            first_offset = answer.convert(_Answer).first_offset
        except FloodmarkError as error:
            if isinstance(error, OffsetMismatch):
                # Can be lower than before if a majority was lost for good.
                self._end = error.fields["next_offset"]
            recorder.failed(op, error)
        except asyncio.CancelledError:
            recorder.left_open(op)
            raise
        else:
            self._end = max(self._end, first_offset + len(produce.values))
            recorder.ok(op, Produced(first_offset), node=node)

    def _request(self, produce: Produce) -> Request:
        topic, partition = self._place
        size_bytes = self._site.workload.record_bytes
        data = [encode(value, topic, partition, size_bytes=size_bytes) for value in produce.values]
        return Request(
            method="POST",
            path=f"/v1/topics/{topic}/partitions/{partition}/records",
            query={"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"},
            headers={"Content-Type": BATCH_MEDIA_TYPE, "If-Offset": str(produce.if_offset)},
            body=batch.encode([Record(now_ms(), None, value) for value in data]),
        )


async def race(site: Site, number: int, producer: int) -> None:
    """Race for every offset of ``site.race``. Runs until ``site.stop``."""
    assert site.race is not None, "the site needs a partition to race for"
    process = f"racer-{number}"
    site.recorder.history.producer(producer, process, idempotent=False, ordered=False)
    rng = site.rng(process)
    transport = site.rotation(process)
    racer = _Racer(site, producer, site.race, rng)
    try:
        async with asyncio.TaskGroup() as group:
            async for _ in ticks(_INTERVAL_S, site.stop):
                if site.pauses.has(site.race):
                    continue
                produce = racer.next()
                op = site.recorder.begin(process, produce)
                group.create_task(racer.run(op, transport, produce))
    finally:
        await transport.close()
