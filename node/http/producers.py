"""Ids for producers, and their epochs, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec
from aiohttp import web

from node.http.answers import Desk
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.document_in import decoded
from node.service.producer_ids import InitProducerId


class ProducerBody(msgspec.Struct, forbid_unknown_fields=True):
    """A producer's present id and epoch."""

    producer_id: int | None = None
    producer_epoch: int | None = None


_WANTED = msgspec.json.Decoder(ProducerBody)


class Producers:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A new id at epoch 0; or, for an id and its epoch, the ones that follow."""
        timeout_s = self._desk.timeout_of(request)
        with ExitStack() as held:
            body = await read_body(request, self._context, held)
        given = ProducerBody()
        if body:
            given = decoded(body, _WANTED, 'nothing or {"producer_id": 17, "producer_epoch": 0}')
        asked = InitProducerId(producer_id=given.producer_id, producer_epoch=given.producer_epoch)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=len(body)))
