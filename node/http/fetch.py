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

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest, Unavailable

from node.broker import Bounds, Partition, Unreadable
from node.http import event_id
from node.http.context import HttpContext
from node.http.entity_tag import caching
from node.http.forward import LEADER, is_forwarded, to_partition_leader
from node.http.live_response import stream
from node.http.media import Media, accepted, answer_media
from node.http.page import read_page, send
from node.http.produce import timeout_of
from node.http.query import capped, duration_s, flag, partition_number, query_of, topic_name
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.request_limits import RequestLimits
from node.service import positions
from node.service.answer_budget import Hold
from node.service.topic_reader import TopicReader

QUERY: Final = frozenset({"from", "max_records", "max_bytes", "wait", "follow", "verify", TOPIC_ID_QUERY})
_RETRY_S: Final = 0.05
_LEADER_WAIT_S: Final = 4.0
"""How long a read waits for a leader, its own wait apart: clients give an answer five seconds, and should
hear that there is none rather than nothing."""
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
        self._head = {"Server": "floodmark", "Vary": "Accept", LEADER: context.broker.node_id}

    def _head_of(self, partition: Partition) -> dict[str, str]:
        return {**self._head, TOPIC_ID: str(partition.topic_id)}

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Records from a position on, as a page or a stream."""
        context = self._context
        topic, number = topic_name(request), partition_number(request)
        query = query_of(request, QUERY)
        asked = Asked(query, context.settings, answer_media(accepted(request)))
        last = request.headers.get("Last-Event-ID")
        event = event_id.decode(last, number) if last else None
        if event is None:
            spec, held = positions.check(last or query.get("from", "earliest")), None
        else:
            spec, held = str(event.next_offset), event.topic_id
        partition = await context.service.partition(topic, number, asked_id(request, query, held))
        timeout_s = asked.wait_s + min(context.settings.produce_timeout_s, _LEADER_WAIT_S)
        deadline = time.monotonic() + timeout_s
        while True:
            if not partition.leads_here:
                answer = await to_partition_leader(
                    context,
                    request,
                    partition,
                    "records",
                    timeout_s=timeout_s,
                    waits=asked.wait_s > 0 or asked.is_stream,
                )
                if isinstance(answer, web.StreamResponse):
                    return answer
                partition = answer
            try:
                return await self._serve(request, partition, spec, asked)
            except Unreadable:
                # It is about to be mended, or another replica leads in a moment, or this one is opened anew.
                began = request.writer.output_size > 0
                if began or is_forwarded(request) or time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_RETRY_S)
                partition = context.service.current(partition)
            except Unavailable as error:
                if partition.leads_here or is_forwarded(request):
                    raise context.service.reason(error, partition) from error

    async def _serve(
        self, request: web.Request, partition: Partition, spec: str, asked: Asked
    ) -> web.StreamResponse:
        """At the leader."""
        start = await positions.resolve(spec, partition)
        if asked.is_stream:
            return await self._stream(request, partition, start, asked)
        with self._context.hold_for(request) as hold:
            if asked.media is Media.BATCH:
                return await self._frames(request, partition, start, asked, hold)
            return await self._page(request, partition, start, asked, hold)

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """The bounds, confirmed by a majority."""
        context = self._context
        query = query_of(request, _TAIL_QUERY)
        partition = await context.service.partition(
            topic_name(request), partition_number(request), asked_id(request, query)
        )
        timeout_s = timeout_of(query.get("timeout"), context)
        if not partition.leads_here:
            answer = await to_partition_leader(context, request, partition, "tail", timeout_s=timeout_s)
            if isinstance(answer, web.StreamResponse):
                return answer
            partition = answer
        try:
            async with context.service.while_exists(partition):
                bounds = await partition.tail(timeout_s=timeout_s)
        except Unavailable as error:
            raise context.service.reason(error, partition) from error
        body = b'{"partition":%d,"log_start_offset":%d,"high_watermark":%d,"next_offset":%d}\n' % (
            partition.number,
            bounds.log_start_offset,
            bounds.high_watermark,
            bounds.high_watermark,
        )
        return web.Response(
            body=body,
            headers={
                **self._head_of(partition),
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                **_log_headers(bounds, bounds.high_watermark),
            },
        )

    async def _frames(
        self, request: web.Request, partition: Partition, start: int, asked: Asked, hold: Hold
    ) -> web.StreamResponse:
        """Batches as they lie on disk."""
        context = self._context
        granted = hold.set_page_aside(asked.max_bytes)
        fetched = await partition.fetch(start, max_bytes=granted, verify=asked.verify)
        if not fetched.frames and asked.wait_s > 0:
            hold.nothing()
            with context.task_ends_with_connection(request):
                async with context.service.while_exists(partition):
                    woken = await context.unless_draining(partition.wait_records(start, wait_s=asked.wait_s))
            granted = hold.set_page_aside(asked.max_bytes)
            fetched = (
                await partition.fetch(start, max_bytes=granted, verify=asked.verify) if woken else fetched
            )
        body = fetched.frames
        hold.more(len(body))
        hold.page_is_made()
        next_offset = max(fetched.next_offset, start)
        headers = self._page_head(partition, start, next_offset, fetched.bounds, asked.media)
        kept, is_known = caching(request, partition, asked.media, (start, next_offset), (body,))
        headers |= kept
        if is_known:
            return web.Response(status=304, headers=headers)
        answer = web.Response(body=body, headers=headers)
        if len(body) > context.settings.stream_bytes:
            # Sent while its bytes are still counted; aiohttp then finds it done.
            writer = await answer.prepare(request)
            if writer is not None:
                writer.send_headers()  # By itself: aiohttp would join it to the body, a copy of all.
            await answer.write_eof()
        return answer

    async def _page(
        self, request: web.Request, partition: Partition, start: int, asked: Asked, hold: Hold
    ) -> web.StreamResponse:
        """Records, translated."""
        context = self._context
        reader = TopicReader(
            context.service, hold, partition.topic_id, [partition], [str(start)], by_cursor=False
        )
        with context.task_ends_with_connection(request):
            page = await read_page(context, reader, hold, asked, around=_AROUND_BYTES)
        bounds = reader.bounds[0] or partition.bounds()
        next_offset = max(reader.offsets[0], start)
        members = {
            "next_offset": next_offset,
            "log_start_offset": bounds.log_start_offset,
            "high_watermark": bounds.high_watermark,
        }
        pieces = page.finish(members)
        headers = self._page_head(partition, start, next_offset, bounds, asked.media)
        kept, is_known = caching(
            request,
            partition,
            asked.media,
            (start, next_offset, bounds.log_start_offset, bounds.high_watermark),
            pieces,
        )
        headers |= kept
        if is_known:
            return web.Response(status=304, headers=headers)
        return await send(request, headers, pieces, hold)

    def _page_head(
        self, partition: Partition, start: int, next_offset: int, bounds: Bounds, media: Media
    ) -> dict[str, str]:
        return {
            **self._head_of(partition),
            "Content-Type": str(media),
            "Log-From-Offset": str(start),
            **_log_headers(bounds, next_offset),
        }

    async def _stream(
        self, request: web.Request, partition: Partition, start: int, asked: Asked
    ) -> web.StreamResponse:
        context = self._context
        bounds = partition.bounds()
        with context.hold_for(request) as hold:
            return await stream(
                context,
                request,
                TopicReader(
                    context.service, hold, partition.topic_id, [partition], [str(start)], by_cursor=False
                ),
                hold,
                asked.media,
                headers={
                    **self._head_of(partition),
                    "Log-From-Offset": str(start),
                    **_log_headers(bounds, start),
                },
                max_records=asked.stream_records,
                wait_s=asked.wait_s,
                follow=asked.follow,
            )


def _log_headers(bounds: Bounds, next_offset: int) -> dict[str, str]:
    return {
        "Log-Next-Offset": str(next_offset),
        "Log-Start-Offset": str(bounds.log_start_offset),
        "Log-High-Watermark": str(bounds.high_watermark),
    }
