"""Replicas that go to other nodes, over HTTP: which do, and have them do so or undo it."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from node.http.answers import Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.forwarded import is_forwarded
from node.service.moves import ListMoves, MoveReplicas, Moves


class ReassignmentsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Where replicas are to go."""

    reassignments: Moves


_BODY = msgspec.json.Decoder(ReassignmentsBody)
_EXAMPLE: Final = '{"reassignments": [{"topic": "orders", "partition": 0, "replicas": ["n4", "n2", "n3"]}]}'


class Reassignments:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """All that are queued or under way; another node that asks hears of those that are led here."""
        return await self._desk.show(request, ListMoves(led_here=is_forwarded(request)))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """202: the metadata say so, and it is done by and by. All of it, or nothing."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _BODY, _EXAMPLE)
        asked = MoveReplicas(moves=wanted.reassignments)
        return self._desk.answer(
            *await self._desk.ask(request, asked, timeout_s=timeout_s, size=size), status=202
        )
