"""The positions of groups in a partition over HTTP: list, begin an epoch, move, remove."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web
from floodmark.format import batch as codec
from floodmark.format.names import check_name
from floodmark.format.position import Position

from node.http.answers import Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.produce import checked_name, timeout_of
from node.http.query import partition_number, query_of, topic_name
from node.http.topic_id import TOPIC_ID_QUERY, asked_id
from node.service.source_positions import BeginEpoch, ListPositions, MovePosition, RemovePositions

QUERY: Final = frozenset({"timeout", TOPIC_ID_QUERY})
_EXAMPLE: Final = '{"topic_id": 17, "partition": 0, "producer": "billing-0"}'


class SourceBody(msgspec.Struct, forbid_unknown_fields=True):
    """The source, a partition of the topic that is processed; and the name of the producer that goes on."""

    topic_id: int
    partition: int
    producer: str | None = None


class MovedBody(msgspec.Struct, forbid_unknown_fields=True):
    """The source, where it was read to without anything coming of it, and who says so in which epoch."""

    topic_id: int
    partition: int
    next_offset: int
    producer: str
    producer_epoch: int


_MOVED = msgspec.json.Decoder(MovedBody)
_MOVED_EXAMPLE: Final = (
    '{"topic_id": 17, "partition": 0, "next_offset": 2000, "producer": "billing-0", "producer_epoch": 0}'
)
_SOURCE = msgspec.json.Decoder(SourceBody)


class SourcePositions:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Those of one group."""
        topic, number, group, topic_id, timeout_s = self._asked(request)
        asked = ListPositions(topic=topic, number=number, group=group, topic_id=topic_id)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Begin the next producer epoch of a source."""
        topic, number, group, topic_id, timeout_s = self._asked(request)
        source, size = await read_document(request, self._context, _SOURCE, _EXAMPLE)
        asked = BeginEpoch(
            topic=topic,
            number=number,
            group=group,
            topic_id=topic_id,
            source_topic_id=source.topic_id,
            source_partition=source.partition,
            producer=b"" if source.producer is None else codec.producer_id_of(checked_name(source.producer)),
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Move the position of a source without records."""
        topic, number, group, topic_id, timeout_s = self._asked(request)
        moved, size = await read_document(request, self._context, _MOVED, _MOVED_EXAMPLE)
        asked = MovePosition(
            topic=topic,
            number=number,
            group=group,
            topic_id=topic_id,
            position=Position(group, moved.topic_id, moved.partition, moved.next_offset),
            producer=codec.producer_id_of(checked_name(moved.producer)),
            producer_epoch=moved.producer_epoch,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove those of one group: 204."""
        topic, number, group, topic_id, timeout_s = self._asked(request)
        asked = RemovePositions(topic=topic, number=number, group=group, topic_id=topic_id)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s))

    def _asked(self, request: web.Request) -> tuple[str, int, str, int | None, float]:
        query = query_of(request, QUERY)
        return (
            topic_name(request),
            partition_number(request),
            check_name(request.match_info["group"]),
            asked_id(request, query),
            timeout_of(query.get("timeout"), self._context),
        )
