"""GET of one partition's records, and of its bounds.

A page is bounded by ``max_bytes``, which are bytes of the answer, and where it is of records (JSON,
MessagePack) by ``max_records``; it begins and ends anywhere in a batch. In the form
``application/vnd.floodmark.batch;v=1`` it is a slice of a segment file, byte for byte: frames (see
``floodmark.format.frame``), of which the first may begin before the offset asked for (``Log-From-Offset``
is what was asked for), and of which some may carry no records. ``application/x-ndjson`` and
``text/event-stream`` stream; so does ``application/vnd.msgpack`` with ``follow=true``: each record a map
behind its length in four bytes, big-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest

from node.broker import Bounds, Partition
from node.http import event_id
from node.http.context import HttpContext
from node.http.entity_tag import caching
from node.http.leader_headers import leader_headers
from node.http.live_response import stream
from node.http.media import Media, accepted, answer_media
from node.http.page import PIECE_BYTES, read_page, send, send_in_pieces
from node.http.produce import timeout_of
from node.http.query import capped, duration_s, flag, partition_number, query_of, topic_name
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.request_limits import RequestLimits
from node.service import positions
from node.service.answer_budget import Hold
from node.service.data_requests import FetchRequest, ListOffsetsRequest, Offsets
from node.service.policy import Operation
from node.service.request_context import RequestContext

QUERY: Final = frozenset({"from", "max_records", "max_bytes", "wait", "follow", "verify", TOPIC_ID_QUERY})
_TAIL_QUERY: Final = frozenset({"timeout", TOPIC_ID_QUERY})
_AROUND_BYTES: Final = 160
"""Of a page of one partition, besides its records."""


class Asked:
    """What a read asks for, besides where."""

    __slots__ = ("follow", "max_bytes", "max_records", "max_records_given", "media", "verify", "wait_s")

    def __init__(self, query: Mapping[str, str], settings: RequestLimits, media: Media) -> None:
        self.media = media
        self.max_bytes = capped(
            query, "max_bytes", default=settings.fetch_bytes, cap=settings.fetch_bytes_max
        )
        self.max_records = capped(
            query, "max_records", default=settings.fetch_records, cap=settings.fetch_records_max
        )
        self.max_records_given = "max_records" in query
        self.wait_s = duration_s(query.get("wait", "0"), "wait", cap=settings.wait_s_max)
        self.verify = flag(query, "verify")
        """Of batches, which are their consumer's to verify: it has found one damaged."""
        self.follow = flag(query, "follow") or media is Media.EVENTS
        if self.follow and media in (Media.JSON, Media.BATCH):
            raise InvalidRequest(
                "follow needs a streaming form: Accept text/event-stream, application/x-ndjson or "
                "application/vnd.msgpack"
            )

    @property
    def is_stream(self) -> bool:
        """Whether the answer is made as it goes."""
        return self.follow or self.media is Media.NDJSON

    @property
    def stream_records(self) -> int:
        """The most records a stream brings: what was asked for, else no limit."""
        return self.max_records if self.max_records_given else 1 << 62


class PartitionFetch:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Records from a position on, as a page or a stream."""
        context = self._context
        who = request_context(request)
        topic, number = topic_name(request), partition_number(request)
        query = query_of(request, QUERY)
        asked = Asked(query, context.settings, answer_media(accepted(request)))
        last = request.headers.get("Last-Event-ID")
        event = event_id.decode(last, number) if last else None
        if event is None:
            position, held = positions.check(last or query.get("from", "earliest")), None
        else:
            position, held = str(event.next_offset), event.topic_id
        named = asked_id(request, query, held)
        if asked.media is Media.BATCH:
            wanted = FetchRequest(
                topic=topic,
                partition=number,
                position=position,
                max_bytes=asked.max_bytes,
                topic_id=named,
                wait_s=asked.wait_s,
                verify=asked.verify,
                here_only=context.is_passed_on(request),
            )
            with context.hold_for(who) as hold, context.task_ends_with_connection(request):
                return await self._frames(request, who, wanted, hold)
        partition = await context.service.find(who, Operation.READ, topic, number, named)
        if asked.is_stream:
            return await self._stream(request, who, partition, position, asked)
        with context.hold_for(who) as hold, context.task_ends_with_connection(request):
            return await self._page(request, who, partition, position, asked, hold)

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """The bounds, confirmed by a majority."""
        context = self._context
        query = query_of(request, _TAIL_QUERY)
        topic, number, named = topic_name(request), partition_number(request), asked_id(request, query)
        who = request_context(request)
        await context.service.find(who, Operation.DESCRIBE, topic, number, named)
        found = await context.service.list_offsets(
            who,
            ListOffsetsRequest(
                topic=topic,
                partition=number,
                position=None,
                timeout_s=timeout_of(query.get("timeout"), context),
                topic_id=named,
                here_only=context.is_passed_on(request),
            ),
        )
        bounds = found.bounds
        body = b'{"partition":%d,"log_start_offset":%d,"high_watermark":%d,"next_offset":%d}\n' % (
            number,
            bounds.log_start_offset,
            bounds.high_watermark,
            bounds.high_watermark,
        )
        return web.Response(
            body=body,
            headers={
                **self._head_of(found.topic_id, found.leader),
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                **_log_headers(bounds, bounds.high_watermark),
            },
        )

    async def _frames(
        self, request: web.Request, who: RequestContext, wanted: FetchRequest, hold: Hold
    ) -> web.StreamResponse:
        """Batches as they lie on disk."""
        context = self._context
        found = await context.service.fetch(who, wanted, hold)
        body, start, next_offset = found.frames, found.start, found.next_offset
        headers = {
            **self._head_of(found.topic_id, found.leader),
            **_page_head(start, next_offset, found.bounds, Media.BATCH),
        }
        offsets = (start, next_offset)
        kept, is_known = caching(request, found.topic_id, wanted.partition, Media.BATCH, offsets, (body,))
        headers |= kept
        if is_known:
            return web.Response(status=304, headers=headers)
        if request.secure and len(body) > PIECE_BYTES:
            # Of a single large write TLS says at once that all of it is sent, and keeps it uncounted.
            return await send_in_pieces(request, headers, body)
        answer = web.Response(body=body, headers=headers)
        if len(body) > context.settings.stream_bytes:
            # Sent while its bytes are still counted; aiohttp then finds it done.
            writer = await answer.prepare(request)
            if writer is not None:
                writer.send_headers()  # By itself: aiohttp would join it to the body, a copy of all.
            await answer.write_eof()
        return answer

    async def _page(
        self,
        request: web.Request,
        who: RequestContext,
        partition: Partition,
        position: str,
        asked: Asked,
        hold: Hold,
    ) -> web.StreamResponse:
        """Records, translated."""
        context = self._context
        reader = context.service.reader(
            who, partition, position, hold, wait_s=asked.wait_s, here_only=context.is_passed_on(request)
        )
        page = await read_page(context, reader, hold, asked, around=_AROUND_BYTES)
        bounds, start = reader.bounds[0], reader.starts[0]
        assert bounds is not None, "an answer without records is of a look at the partition as well"
        assert start is not None, "likewise"
        next_offset = max(reader.offsets[0], start)
        pieces = page.finish(
            {
                "next_offset": next_offset,
                "log_start_offset": bounds.log_start_offset,
                "high_watermark": bounds.high_watermark,
            }
        )
        headers = {
            **self._head_of(partition.topic_id, reader.leaders[0] or context.broker.node_id),
            **_page_head(start, next_offset, bounds, asked.media),
        }
        kept, is_known = caching(
            request,
            partition.topic_id,
            partition.number,
            asked.media,
            (start, next_offset, bounds.log_start_offset, bounds.high_watermark),
            pieces,
        )
        headers |= kept
        if is_known:
            return web.Response(status=304, headers=headers)
        context.count_sent(who, page.size)
        return await send(request, headers, pieces, hold)

    async def _stream(
        self,
        request: web.Request,
        who: RequestContext,
        partition: Partition,
        position: str,
        asked: Asked,
    ) -> web.StreamResponse:
        context = self._context
        begin = await self._begin(request, partition, position, asked)
        with context.hold_for(who) as hold:
            return await stream(
                context,
                request,
                who,
                context.service.reader(who, partition, str(begin.offset), hold),
                hold,
                asked.media,
                headers={
                    **self._head_of(begin.topic_id, begin.leader),
                    "Log-From-Offset": str(begin.offset),
                    **_log_headers(begin.bounds, begin.offset),
                },
                max_records=asked.stream_records,
                wait_s=asked.wait_s,
                follow=asked.follow,
            )

    async def _begin(
        self, request: web.Request, partition: Partition, position: str, asked: Asked
    ) -> Offsets:
        """Where a stream begins, which its head says."""
        context = self._context
        service = context.service
        return await service.fetching.offsets_of(
            partition,
            ListOffsetsRequest(
                topic=partition.topic,
                partition=partition.number,
                position=position,
                timeout_s=service.fetching.leader_s(asked.wait_s),
                topic_id=partition.topic_id,
                here_only=context.is_passed_on(request),
            ),
        )

    def _head_of(self, topic_id: int, leader: str) -> dict[str, str]:
        served = leader_headers(self._context.broker, leader)
        return {"Server": "floodmark", "Vary": "Accept", **served, TOPIC_ID: str(topic_id)}


def _page_head(start: int, next_offset: int, bounds: Bounds, media: Media) -> dict[str, str]:
    return {
        "Content-Type": str(media),
        "Log-From-Offset": str(start),
        **_log_headers(bounds, next_offset),
    }


def _log_headers(bounds: Bounds, next_offset: int) -> dict[str, str]:
    return {
        "Log-Next-Offset": str(next_offset),
        "Log-Start-Offset": str(bounds.log_start_offset),
        "Log-High-Watermark": str(bounds.high_watermark),
    }
