"""POST to a topic: records go to the partitions of their keys, each partition's share as one batch."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from aiohttp import web
from floodmark.format.position import HEADER as POSITION

from node.http.body import read_body
from node.http.context import HttpContext
from node.http.delivery import deliver_at_of
from node.http.produce import PRODUCER_HEADERS, QUERY, timeout_of
from node.http.produce_body import ProduceBody
from node.http.query import acks_of, is_copy, query_of, topic_name
from node.http.records_in import media_of
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, asked_id
from node.http.topic_report import HEAD, answer
from node.service import policy
from node.service.data_requests import ProduceRequest
from node.service.policy import Operation
from node.service.produce_topic import needs_partition
from node.service.router import not_here

_OF_ONE_PARTITION: Final = (*PRODUCER_HEADERS, "If-Offset", POSITION)


class TopicProduce:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Store the records: 200 when all landed, 207 with a report when some did, an error when none."""
        context = self._context
        service, who = context.service, request_context(request)
        name = topic_name(request)
        if context.is_passed_on(request):
            raise not_here(None, name)
        for header in _OF_ONE_PARTITION:
            if header in request.headers:
                raise needs_partition(header, name)
        query = query_of(request, QUERY)
        service.authorize(who, Operation.WRITE, policy.topic(name))
        limits = await service.topics.limits(name, asked_id(request, query))
        if service.quotas.are_set:
            service.quotas.check(who, Operation.WRITE, request.content_length or 0)
        timeout_s = timeout_of(query.get("timeout"), context)
        copies = is_copy(query)
        media = media_of(request, copies=copies)
        acks, deliver_at_ms = acks_of(query), deliver_at_of(query, service.wall_ms())
        with ExitStack() as held:
            raw = await read_body(request, context, held)
            shared = await service.produce_by_key(
                who,
                ProduceRequest(
                    topic=name,
                    partition=None,
                    body=ProduceBody(context.packers, request, media, raw, copies=copies),
                    timeout_s=timeout_s,
                    topic_id=limits.topic_id,
                    acks=acks,
                    deliver_at_ms=deliver_at_ms,
                ),
            )
        headers = {**HEAD, TOPIC_ID: str(shared.topic_id)}
        return await answer(context, shared.places, shared.outcomes, headers)
