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
from chaos.record_value import encode, key_of, value_id
from chaos.workload.site import NODE_TIMEOUT_S, Site, attempt, ticks

_DELIVERY_TIMEOUT_S: Final = 8.0
_DELAY_MS_MAX: Final = 3_000


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

    def keys(self, place: Place, values: Sequence[int]) -> list[bytes] | None:
        """Their keys, where the topic's records have some."""
        return [key_of(value) for value in values] if place[0] == self._site.queue_topic else None


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
                    keys = sends.keys(place, values)
                    sent = await producers[place[0]].send_many(data, keys=keys, partition=place[1])
                    acks = sent.acks()
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
                request = _request(place, sends.data(place, values), sends.keys(place, values))
                group.create_task(_post(site, transport, op, request))
    finally:
        await transport.close()


async def produce_later(site: Site, producer: int) -> None:
    """Likewise, single records that queues deliver after a while. Runs until ``site.stop``."""
    process = f"producer-{producer}"
    site.recorder.history.producer(producer, process, idempotent=False, ordered=False)
    rng = site.rng(process)
    places = itertools.cycle([place for place in site.places if place[0] == site.queue_topic])
    transport = site.transport(process)
    try:
        async with asyncio.TaskGroup() as group:
            async for turn in ticks(1 / site.workload.delayed_per_s, site.stop):
                place, delay_ms = next(places), rng.randint(0, _DELAY_MS_MAX)
                if site.pauses.has(place):
                    continue
                value = value_id(producer, turn)
                op = site.recorder.begin(process, Produce(*place, [value], delay_ms=delay_ms))
                request = _request(place, [encode(value, *place)], [key_of(value)], delay_ms=delay_ms)
                group.create_task(_post(site, transport, op, request))
    finally:
        await transport.close()


async def _post(site: Site, transport: Transport, op: int, request: Request) -> None:
    try:
        answer, node = await attempt(transport, request)
        first_offset = answer.convert(_ProduceAnswer).first_offset
    except FloodmarkError as error:
        site.recorder.failed(op, error)
    except asyncio.CancelledError:
        site.recorder.left_open(op)
        raise
    else:
        site.recorder.ok(op, Produced(first_offset), node=node)


def _request(
    place: Place, data: Sequence[bytes], keys: Sequence[bytes] | None, *, delay_ms: int | None = None
) -> Request:
    """One record goes as raw bytes, which nodes put into batches with others; a list is a batch already."""
    topic, partition = place
    is_list = len(data) > 1
    query = {"timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"}
    if delay_ms is not None:
        query["delay"] = f"{delay_ms}ms"
    headers = {"Content-Type": BATCH_MEDIA_TYPE if is_list else "application/octet-stream"}
    if keys is not None and not is_list:
        headers["Record-Key"] = keys[0].decode()
    body = data[0]
    if is_list:
        of_each = itertools.repeat(None) if keys is None else keys
        body = batch.encode([Record(now_ms(), key, value) for key, value in zip(of_each, data, strict=False)])
    return Request(
        method="POST",
        path=f"/v1/topics/{topic}/partitions/{partition}/records",
        query=query,
        headers=headers,
        body=body,
        route=f"{topic}/{partition}",
    )
