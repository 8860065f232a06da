"""Replicas that go to other nodes: which do, and have them do so or undo it. Kafka's word is reassignment."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web

from node.broker import MoveInfo, MoveWanted
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.forward import is_forwarded, to_metadata_leader
from node.http.produce import timeout_of
from node.http.query import query_of

PATH: Final = "/v1/reassignments"
REPLICAS_MAX: Final = 100
PARTITIONS_MAX: Final = 10_000
_TIMEOUT: Final = frozenset({"timeout"})
_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
_ENCODER = msgspec.json.Encoder()


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: Annotated[int, msgspec.Meta(ge=0)]
    replicas: Annotated[list[str], msgspec.Meta(min_length=1, max_length=REPLICAS_MAX)] | None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    reassignments: Annotated[list[_Wanted], msgspec.Meta(min_length=1, max_length=PARTITIONS_MAX)]


_BODY = msgspec.json.Decoder(_Body)
_EXAMPLE: Final = '{"reassignments": [{"topic": "orders", "partition": 0, "replicas": ["n4", "n2", "n3"]}]}'


class Reassignments:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """All that are queued or under way; another node that asks hears of those that are led here."""
        timeout_s = timeout_of(query_of(request, _TIMEOUT).get("timeout"), self._context)
        broker = self._context.broker
        broker.check_current()
        if is_forwarded(request):
            return _answer(await broker.moves_led_here())
        return _answer(await broker.moves(timeout_s=timeout_s))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """202: the metadata say so, and it is done by and by. All of it, or nothing."""
        timeout_s = timeout_of(query_of(request, _TIMEOUT).get("timeout"), self._context)
        if not self._context.broker.metadata_leads_here:
            answer = await to_metadata_leader(self._context, request, PATH, timeout_s=timeout_s)
            if answer is not None:
                return answer
        wanted = await read_document(request, self._context, _BODY, _EXAMPLE)
        moves = [MoveWanted(item.topic, item.partition, item.replicas) for item in wanted.reassignments]
        return _answer(await self._context.broker.move(moves, timeout_s=timeout_s), status=202)


def _answer(moves: list[MoveInfo], *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode({"reassignments": moves}) + b"\n", headers=_JSON)
