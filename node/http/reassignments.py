"""Replicas that go to other nodes, over HTTP: which do, and have them do so or undo it."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from node.http.answers import TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.node_view import VIEW, is_own_view
from node.http.query import query_of
from node.service.moves import ListMoves, MoveReplicas, Moves


class ReassignmentsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Where replicas are to go."""

    reassignments: Moves


_LIST_QUERY: Final = TIMEOUT | {VIEW}
_BODY = msgspec.json.Decoder(ReassignmentsBody)
_EXAMPLE: Final = '{"reassignments": [{"topic": "orders", "partition": 0, "replicas": ["n4", "n2", "n3"]}]}'


class Reassignments:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """All that are queued or under way, or of those whose partitions are led here, as this node knows."""
        led_here = is_own_view(self._context, request, query_of(request, _LIST_QUERY))
        return await self._desk.show(request, ListMoves(led_here=led_here), known=_LIST_QUERY)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """202: the metadata say so, and it is done by and by. All of it, or nothing."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _BODY, _EXAMPLE)
        asked = MoveReplicas(moves=wanted.reassignments)
        return self._desk.answer(
            *await self._desk.ask(request, asked, timeout_s=timeout_s, size=size), status=202
        )
