"""POST to a topic: records go to the partitions of their keys, each partition's share as one batch.

What counts within one partition (a producer's sequence, an expected offset) cannot be promised here: a retry
may find its records' partition chosen anew, now or once the topic has more of them. So it is refused.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from aiohttp import web
from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.format import batch as codec
from floodmark.format.batch_check import check_if_light

from node.broker import Partition, TopicLimits
from node.http.body import read_body
from node.http.body_weight import is_heavy
from node.http.context import HttpContext
from node.http.forward import is_forwarded, not_here
from node.http.media import Media
from node.http.packing import NOBODY, Order, Packed, packed, places_of, shares_of
from node.http.produce import PRODUCER_HEADERS, QUERY, Wanted, is_plain, timeout_of
from node.http.query import acks_of, is_copy, query_of, topic_name
from node.http.records_in import Reading, media_of, read_records
from node.http.topic_id import TOPIC_ID, asked_id
from node.http.topic_report import HEAD, Outcome, answer
from node.service.inside_line import AppendRequest
from node.service.repeated_batches import TRACE
from node.service.router import Small, append

_OF_ONE_PARTITION: Final = (*PRODUCER_HEADERS, "If-Offset")
_SMALL_BYTES_MAX: Final = 64 << 10
"""A larger body is packed at once, and refused as a whole if it cannot be."""
Sendings = dict[int, AppendRequest | Small]
"""By partition."""


class TopicProduce:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._turn = itertools.count()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Store the records: 200 when all landed, 207 with a report when some did, an error when none."""
        context = self._context
        name = topic_name(request)
        if is_forwarded(request):
            raise not_here(None, name)
        for header in _OF_ONE_PARTITION:
            if header in request.headers:
                raise _needs_partition(header, name)
        query = query_of(request, QUERY)
        limits = await context.service.topic_limits(name, asked_id(request, query))
        timeout_s = timeout_of(query.get("timeout"), context)
        copies = is_copy(query)
        media = media_of(request, copies=copies)
        wanted = Wanted(request, media, acks_of(query), timeout_s, copies=copies)
        with ExitStack() as held:
            body = await read_body(request, context, held)
            if wanted.media is Media.BATCH:
                places, sendings = await self._untouched(name, body, wanted, limits)
            else:
                places, sendings = await context.service.once_level_known(
                    lambda: self._divided(body, wanted, limits)
                )
            outcomes = await self._send(name, limits.topic_id, sendings)
        return await answer(context, places, outcomes, {**HEAD, TOPIC_ID: str(limits.topic_id)})

    async def _divided(
        self, body: bytes, wanted: Wanted, limits: TopicLimits
    ) -> tuple[Sequence[int], Sendings]:
        if is_heavy(wanted.media, body):
            return await self._packed_elsewhere(body, wanted, limits)
        return self._shared_out(body, wanted, limits)

    def _reading(self, limits: TopicLimits, wanted: Wanted) -> Reading:
        context = self._context
        return Reading(context.wall_ms(), limits.max_record_bytes, context.broker.batch_format, wanted.copies)

    async def _untouched(
        self, name: str, body: bytes, wanted: Wanted, limits: TopicLimits
    ) -> tuple[Sequence[int], Sendings]:
        """A batch is passed on as it is, so all its records share a partition, whatever their keys."""
        header = check_if_light(body, record_bytes_max=limits.max_record_bytes)
        if header is None:
            await self._packed(body, wanted, limits)
            header = codec.decode_header(body)
        if header.is_idempotent:
            raise _needs_partition("the producer that the batch names", name)
        number = next(self._turn) % limits.partitions
        sending = AppendRequest(body, header, wanted.acks, wanted.timeout_s)
        return [number] * header.count, {number: sending}

    async def _packed_elsewhere(
        self, body: bytes, wanted: Wanted, limits: TopicLimits
    ) -> tuple[Sequence[int], Sendings]:
        """As ``_shared_out``, for a heavy body, where it holds nobody up."""
        places, batches = await self._packed(body, wanted, limits)
        return places, {number: _sending(batch, wanted) for number, batch in batches.items()}

    async def _packed(self, body: bytes, wanted: Wanted, limits: TopicLimits) -> Packed:
        order = Order(
            wanted.media,
            self._reading(limits, wanted),
            traceparent=wanted.head.headers.get(TRACE),
            partitions=limits.partitions,
            keyless=next(self._turn) % limits.partitions,
        )
        return await self._context.packers.pack(order, body, timeout_s=wanted.timeout_s)

    def _shared_out(self, body: bytes, wanted: Wanted, limits: TopicLimits) -> tuple[Sequence[int], Sendings]:
        """The partition of every record in the order sent, and what goes to each partition."""
        reading = self._reading(limits, wanted)
        found = read_records(wanted.head, wanted.media, body, reading)
        places = places_of(found, limits.partitions, lambda: next(self._turn) % limits.partitions)
        shares = shares_of(found, places)
        if is_plain(wanted) and len(body) <= _SMALL_BYTES_MAX:
            return places, {number: Small(records, wanted.timeout_s) for number, records in shares.items()}
        return places, {
            number: _sending(packed(records, NOBODY, reading.batch_format), wanted)
            for number, records in shares.items()
        }

    async def _send(self, topic: str, topic_id: int, sendings: Sendings) -> dict[int, Outcome]:
        context = self._context
        partitions = {number: await context.service.partition(topic, number, topic_id) for number in sendings}
        if len(sendings) == 1:
            ((number, sending),) = sendings.items()
            return {number: await _outcome(context, partitions[number], sending)}
        outcomes = await asyncio.gather(
            *(_outcome(context, partitions[number], sending) for number, sending in sendings.items())
        )
        return dict(zip(sendings, outcomes, strict=True))


def _sending(batch: bytes, wanted: Wanted) -> AppendRequest:
    return AppendRequest(batch, codec.decode_header(batch), wanted.acks, wanted.timeout_s)


def _needs_partition(what: str, topic: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what} holds within one partition, and this path chooses the partition anew for each request: "
        f"post to /v1/topics/{topic}/partitions/N/records with a fixed N"
    )


async def _outcome(context: HttpContext, partition: Partition, sending: AppendRequest | Small) -> Outcome:
    try:
        return (await append(context.service, partition, sending))[0]
    except FloodmarkError as error:
        return error
