"""Ids for producers, and their epochs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest
from floodmark.format.limits import PRODUCER_EPOCH_MAX, PRODUCER_ID_MAX

from node.http.body import read_body
from node.http.context import HttpContext
from node.http.document_in import decoded
from node.http.forward import to_metadata_leader
from node.http.produce import timeout_of
from node.http.query import query_of

_QUERY: Final = frozenset({"timeout"})
_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    producer_id: int | None = None
    producer_epoch: int | None = None


_WANTED = msgspec.json.Decoder(_Wanted)


class Producers:
    """The handler. The metadata's leader gives the numbers, whoever is asked."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A new id at epoch 0; or, for an id and its epoch, what goes on behind them."""
        timeout_s = timeout_of(query_of(request, _QUERY).get("timeout"), self._context)
        broker = self._context.broker
        if not broker.metadata_leads_here:
            answer = await to_metadata_leader(self._context, request, "/v1/producers", timeout_s=timeout_s)
            if answer is not None:
                return answer
        with ExitStack() as held:
            wanted = _wanted(await read_body(request, self._context, held))
        if wanted is None:
            number, epoch = await broker.new_producer(timeout_s=timeout_s)
        else:
            number, epoch = await broker.next_epoch(*wanted, timeout_s=timeout_s)
        return web.Response(body=b'{"producer_id":%d,"producer_epoch":%d}\n' % (number, epoch), headers=_JSON)


def _wanted(body: bytes) -> tuple[int, int] | None:
    """The id and the epoch that are named; None when a new id is wanted. Raises ``InvalidRequest``."""
    if not body:
        return None
    wanted = decoded(body, _WANTED, 'nothing or {"producer_id": 17, "producer_epoch": 0}')
    number, epoch = wanted.producer_id, wanted.producer_epoch
    if number is None and epoch is None:
        return None
    if number is None or epoch is None:
        raise InvalidRequest("producer_id and producer_epoch go together; without both there is a new id")
    if not 1 <= number <= PRODUCER_ID_MAX:
        raise InvalidRequest(f"producer_id is 1 to {PRODUCER_ID_MAX}, not {number}")
    if not 0 <= epoch <= PRODUCER_EPOCH_MAX:
        raise InvalidRequest(f"producer_epoch is 0 to {PRODUCER_EPOCH_MAX}, not {epoch}")
    return number, epoch
