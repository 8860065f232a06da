"""POST to a topic: records go to the partitions of their keys, each partition's share as one batch.

What counts within one partition (a producer's sequence, an expected offset) can not be promised here: a retry
may find its records' partition chosen anew, now or once the topic has more of them. So it is refused.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import msgspec
from aiohttp import web
from floodmark import batch as codec
from floodmark.errors import FloodmarkError, InvalidRequest, OutcomeUnknown, UnknownPartition
from floodmark.partitioner import partition_for
from floodmark.record import Record

from node.broker import Appended, Partition, TopicLimits
from node.http import problems
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.forward import is_forwarded, not_here
from node.http.media import Media, body_media
from node.http.produce import PRODUCER_HEADERS, QUERY, Wanted, is_plain, timeout_of
from node.http.query import acks_of, query_of, topic_name
from node.http.reach import Sending, Small, append
from node.http.records_in import Incoming, Reading, read_records
from node.http.topic_id import TOPIC_ID, asked_id

_HEAD: Final = {"Content-Type": "application/json", "Server": "floodmark"}
_OF_ONE_PARTITION: Final = (*PRODUCER_HEADERS, "If-Offset")
_ENCODER = msgspec.json.Encoder()
_SMALL_BYTES_MAX: Final = 64 << 10
"""A larger body is packed at once, and refused as a whole if it can not be."""
Outcome = Appended | FloodmarkError
Sendings = dict[int, Sending | Small]
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
        limits = await context.topic_limits(name, asked_id(request, query))
        timeout_s = timeout_of(query.get("timeout"), context)
        media = body_media(request.headers.get("Content-Type"))
        wanted = Wanted(request, media, acks_of(query), timeout_s)
        with ExitStack() as held:
            body = await read_body(request, context, held)
            if wanted.media is Media.BATCH:
                places, sendings = self._untouched(name, body, wanted, limits)
            else:
                places, sendings = self._shared_out(body, wanted, limits)
            outcomes = await self._send(name, limits.topic_id, sendings)
        return _answer(context, places, outcomes, {**_HEAD, TOPIC_ID: str(limits.topic_id)})

    def _untouched(
        self, name: str, body: bytes, wanted: Wanted, limits: TopicLimits
    ) -> tuple[list[int], Sendings]:
        """A batch is passed on as it is, so all its records share a partition, whatever their keys."""
        header = codec.check(body, record_bytes_max=limits.max_record_bytes)
        if header.is_idempotent:
            raise _needs_partition("the producer that the batch names", name)
        number = next(self._turn) % limits.partitions
        sending = Sending(body, header, wanted.acks, wanted.timeout_s)
        return [number] * header.count, {number: sending}

    def _shared_out(self, body: bytes, wanted: Wanted, limits: TopicLimits) -> tuple[list[int], Sendings]:
        """The partition of every record in the order sent, and what goes to each partition."""
        reading = Reading(self._context.wall_ms(), limits.max_record_bytes)
        found = read_records(wanted.head, wanted.media, body, reading)
        places = self._places(found, limits.partitions)
        shares: dict[int, list[Record]] = {}
        for item, number in zip(found, places, strict=True):
            shares.setdefault(number, []).append(item.record)
        if is_plain(wanted) and len(body) <= _SMALL_BYTES_MAX:
            return places, {number: Small(records, wanted.timeout_s) for number, records in shares.items()}
        return places, {number: _packed(records, wanted) for number, records in shares.items()}

    def _places(self, found: Sequence[Incoming], partitions: int) -> list[int]:
        """By what a record asks for, by its key, or all keyless ones of a request together in turn."""
        keyless: int | None = None
        places = []
        for record, wanted in found:
            if wanted is not None:
                if wanted >= partitions:
                    raise UnknownPartition(f"there is no partition {wanted}; there are {partitions}")
                places.append(wanted)
            elif record.key is not None:
                places.append(partition_for(record.key, partitions))
            else:
                if keyless is None:
                    keyless = next(self._turn) % partitions
                places.append(keyless)
        return places

    async def _send(self, topic: str, topic_id: int, sendings: Sendings) -> dict[int, Outcome]:
        context = self._context
        partitions = {number: await context.partition(topic, number, topic_id) for number in sendings}
        if len(sendings) == 1:
            ((number, sending),) = sendings.items()
            return {number: await _outcome(context, partitions[number], sending)}
        outcomes = await asyncio.gather(
            *(_outcome(context, partitions[number], sending) for number, sending in sendings.items())
        )
        return dict(zip(sendings, outcomes, strict=True))


def _packed(records: list[Record], wanted: Wanted) -> Sending:
    batch = codec.encode(records)
    return Sending(batch, codec.decode_header(batch), wanted.acks, wanted.timeout_s)


def _needs_partition(what: str, topic: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what} holds within one partition, and this path chooses the partition anew for each request: "
        f"post to /v1/topics/{topic}/partitions/N/records with a fixed N"
    )


async def _outcome(context: HttpContext, partition: Partition, sending: Sending | Small) -> Outcome:
    try:
        return (await append(context, partition, sending))[0]
    except FloodmarkError as error:
        return error


def _answer(
    context: HttpContext, places: list[int], outcomes: dict[int, Outcome], headers: dict[str, str]
) -> web.Response:
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, FloodmarkError)]
    if not failed:
        return web.Response(body=_all_stored(places, outcomes), headers=headers)
    request_id = context.next_request_id()
    reports = {
        number: problems.document(outcome, request_id)
        for number, outcome in outcomes.items()
        if isinstance(outcome, FloodmarkError)
    }
    taken = dict.fromkeys(outcomes, 0)
    records: list[dict[str, Any]] = []
    for number in places:
        outcome = outcomes[number]
        if isinstance(outcome, FloodmarkError):
            records.append({"partition": number, "error": reports[number]})
        else:
            records.append({"partition": number, "offset": _offset(outcome, taken[number])})
            taken[number] += 1
    if len(failed) < len(outcomes):
        body = _ENCODER.encode({"records": records}) + b"\n"
        return web.Response(status=207, body=body, headers=headers)
    # None is known to be stored. If one may be, that is what counts: it must not be called "not stored".
    unknown = [error for error in failed if isinstance(error, OutcomeUnknown)]
    first = (unknown or failed)[0]
    if len(failed) > 1:
        first = type(first)(first.detail, **{**first.fields, "records": records})
    raise first


def _all_stored(places: list[int], outcomes: dict[int, Outcome]) -> bytes:
    """The usual answer, and on the hot path: no dictionaries, no encoder."""
    nexts = {number: out.first_offset for number, out in outcomes.items() if isinstance(out, Appended)}
    rows = []
    for number in places:
        offset = nexts[number]
        rows.append(b'{"partition":%d,"offset":%d}' % (number, offset))
        if offset >= 0:
            nexts[number] = offset + 1
    return b'{"records":[' + b",".join(rows) + b"]}\n"


def _offset(appended: Appended, index: int) -> int:
    return appended.first_offset + index if appended.first_offset >= 0 else -1
