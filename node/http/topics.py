"""Topics over HTTP: bodies and queries become requests to the service, results become documents."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from node.http.answers import JSON, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.node_view import VIEW, is_own_view
from node.http.query import capped, query_of
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.service.topic_changes import AlterTopic, ConfigChanges, CreateTopic, DeleteTopic
from node.service.topic_description import TopicDescription
from node.service.topics import PAGE, PAGE_MAX, PARTITIONS_AT_ONCE, DescribeTopic, ListTopics

_QUERY: Final = frozenset({"timeout", TOPIC_ID_QUERY})
_DESCRIBE_QUERY: Final = frozenset({TOPIC_ID_QUERY, VIEW})
_LIST_QUERY: Final = frozenset({"prefix", "after", "limit"})
_ENCODER = msgspec.json.Encoder()
_NEW_EXAMPLE: Final = '{"partitions": 3, "config": {"retention_ms": 604800000}}'
_CHANGES_EXAMPLE: Final = '{"config": {"retention_ms": null}}'


class NewTopicBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a PUT."""

    partitions: int | None = None
    replication_factor: int | None = None
    config: ConfigChanges = ConfigChanges()


class TopicChangesBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a PATCH."""

    config: ConfigChanges | None = None
    partitions: int | None = None
    replication_factor: int | None = None


_NEW = msgspec.json.Decoder(NewTopicBody)
_CHANGES = msgspec.json.Decoder(TopicChangesBody)


class Topics:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """201 when created now, 200 when it existed like this, 409 when it existed otherwise."""
        name, timeout_s = request.match_info["topic"], self._desk.timeout_of(request, _QUERY)
        given, size = await read_document(request, self._context, _NEW, _NEW_EXAMPLE, may_be_missing=True)
        wanted = CreateTopic(
            topic=name,
            partitions=given.partitions,
            replication_factor=given.replication_factor,
            config=given.config,
            topic_id=asked_id(request, query_of(request, _QUERY)),
        )
        made, node, by_leader = await self._desk.ask(request, wanted, timeout_s=timeout_s, size=size)
        headers = {"Location": f"/v1/topics/{name}"}
        return self._answer(made.topic, node, by_leader, status=201 if made.created else 200, headers=headers)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The topic, each partition as its leader sees it, or as this very node does."""
        query = query_of(request, _DESCRIBE_QUERY)
        asked = DescribeTopic(
            topic=request.match_info["topic"],
            topic_id=asked_id(request, query),
            own_view=is_own_view(self._context, request, query),
        )
        return self._answer(*await self._desk.ask(request, asked))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """Change the configuration (null removes a limit), the partitions, or the replication factor."""
        name, timeout_s = request.match_info["topic"], self._desk.timeout_of(request, _QUERY)
        given, size = await read_document(request, self._context, _CHANGES, _CHANGES_EXAMPLE)
        changes = AlterTopic(
            topic=name,
            config=given.config,
            partitions=given.partitions,
            replication_factor=given.replication_factor,
            topic_id=asked_id(request, query_of(request, _QUERY)),
        )
        return self._answer(*await self._desk.ask(request, changes, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove the topic and its data everywhere."""
        timeout_s = self._desk.timeout_of(request, _QUERY)
        topic_id = asked_id(request, query_of(request, _QUERY))
        asked = DeleteTopic(topic=request.match_info["topic"], topic_id=topic_id)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s))

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Topics in order of name, a page at a time: for the next page, ``after`` is the last one's name."""
        query = query_of(request, _LIST_QUERY)
        asked = ListTopics(
            prefix=query.get("prefix", ""),
            after=query.get("after", ""),
            limit=capped(query, "limit", default=PAGE, cap=PAGE_MAX),
        )
        found = (await self._desk.ask(request, asked)).result
        documents: list[bytes] = []
        since = 0
        for topic in found.topics:
            documents.append(_ENCODER.encode(topic))
            since += len(topic.partitions)
            if since >= PARTITIONS_AT_ONCE:  # Let others have a turn of the event loop.
                since = 0
                await asyncio.sleep(0)
        return web.Response(body=b'{"topics":[' + b",".join(documents) + b"]}\n", headers=JSON)

    def _answer(
        self,
        topic: TopicDescription,
        node: str,
        by_leader: bool,  # noqa: FBT001 - as ``Served`` has it
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        return self._desk.answer(
            topic, node, by_leader, status=status, headers={TOPIC_ID: str(topic.topic_id), **(headers or {})}
        )
