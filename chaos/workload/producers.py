"""Producers: every record is a value of its own, sent once by its producer, at a steady pace.

They do not wait for an answer before they send the next record: an attempt that a fault swallowed must not
block later ones. They stop only in a pause of the workload (pauses.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final

import floodmark
import msgspec
from floodmark.errors import FloodmarkError
from floodmark.format import batch
from floodmark.format.record import Record
from floodmark.format.values import now_ms
from floodmark.transport.http import BATCH_MEDIA_TYPE, Request, Transport

from chaos.checker.options import Place
from chaos.history import Produce, Produced
from chaos.record_value import encode, value_id
from chaos.workload.site import NODE_TIMEOUT_S, Site, attempt, ticks

_DELIVERY_TIMEOUT_S: Final = 8.0


class _ProduceAnswer(msgspec.Struct):
    first_offset: int


class Sends:
    """One producer's sends, each to the next partition in turn: one record, then a list, then one record."""

    def __init__(self, site: Site, producer: int) -> None:
        self._site = site
        self._producer = producer
        self._numbers = itertools.count()
        self._places: Iterator[Place] = itertools.cycle(site.places)
        workload = site.workload
        producers = workload.idempotent_producers + workload.plain_producers
        self.interval_s = (1 + workload.list_records) / 2 * producers / workload.records_per_s

    def next(self, turn: int) -> tuple[Place, list[int]]:
        """The partition and the values of the next send."""
        # The turns with lists shift from round to round, so that no partition gets only lists.
        is_list = (turn + turn // len(self._site.places)) % 2
        count = self._site.workload.list_records if is_list else 1
        return next(self._places), [value_id(self._producer, next(self._numbers)) for _ in range(count)]

    def data(self, place: Place, values: Sequence[int]) -> list[bytes]:
        """The records' bytes."""
        size_bytes = self._site.workload.record_bytes
        return [encode(value, *place, size_bytes=size_bytes) for value in values]


async def produce_idempotently(site: Site, producer: int) -> None:
    """Through the client's Producer, which repeats until the outcome is known. Runs until ``site.stop``."""
    process = f"producer-{producer}"
    site.recorder.history.producer(producer, process, idempotent=True)
    sends = Sends(site, producer)
    urls = site.rng(process).sample(site.urls, len(site.urls))
    ca, token = site.access.ca, site.access.token
    async with floodmark.Client(urls, request_timeout_s=NODE_TIMEOUT_S, tls=ca, token=token) as client:
        producers = {
            topic: client.producer(topic, delivery_timeout_s=_DELIVERY_TIMEOUT_S) for topic in site.topics
        }
        async with asyncio.TaskGroup() as group:
            async for turn in ticks(sends.interval_s, site.stop):
                place, values = sends.next(turn)
                if site.pauses.has(place):
                    continue
                actions = [Produce(*place, [value]) for value in values]
                ops = [site.recorder.begin(process, action) for action in actions]
                data = sends.data(place, values)
                try:
                    acks = (await producers[place[0]].send_many(data, partition=place[1])).acks()
                except FloodmarkError as error:
                    for op in ops:
                        site.recorder.failed(op, error)
                    continue
                for op, ack in zip(ops, acks, strict=True):
                    group.create_task(_settle(site, op, ack))


async def _settle(site: Site, op: int, ack: Awaitable[floodmark.Produced]) -> None:
    try:
        stored = await ack
    except FloodmarkError as error:
        site.recorder.failed(op, error)
    except asyncio.CancelledError:
        site.recorder.left_open(op)
        raise
    else:
        site.recorder.ok(op, Produced(stored.offset))


async def produce_once(site: Site, producer: int) -> None:
    """Single requests without any identity, none of them ever repeated. Runs until ``site.stop``.

    Requests overlap, and one that was given up may arrive late, so these records have no order.
    """
    process = f"producer-{producer}"
    site.recorder.history.producer(producer, process, idempotent=False, ordered=False)
    sends = Sends(site, producer)
    transport = site.transport(process)
    try:
        async with asyncio.TaskGroup() as group:
            async for turn in ticks(sends.interval_s, site.stop):
                place, values = sends.next(turn)
                if site.pauses.has(place):
                    continue
                op = site.recorder.begin(process, Produce(*place, values))
                group.create_task(_post(site, transport, op, place, sends.data(place, values)))
    finally:
        await transport.close()


async def _post(site: Site, transport: Transport, op: int, place: Place, data: Sequence[bytes]) -> None:
    try:
        answer, node = await attempt(transport, _request(place, data))
        first_offset = answer.convert(_ProduceAnswer).first_offset
    except FloodmarkError as error:
        site.recorder.failed(op, error)
    except asyncio.CancelledError:
        site.recorder.left_open(op)
        raise
    else:
        site.recorder.ok(op, Produced(first_offset), node=node)


def _request(place: Place, data: Sequence[bytes]) -> Request:
    """One record goes as raw bytes, which nodes put into batches with others; a list is a batch already."""
    topic, partition = place
    is_list = len(data) > 1
    return Request(
        method="POST",
        path=f"/v1/topics/{topic}/partitions/{partition}/records",
        query={"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"},
        headers={"Content-Type": BATCH_MEDIA_TYPE if is_list else "application/octet-stream"},
        body=batch.encode([Record(now_ms(), None, value) for value in data]) if is_list else data[0],
        route=f"{topic}/{partition}",
    )
