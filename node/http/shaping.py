"""Nodes that are drained, and clusters that are evened out: begin, end, and how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest, Unavailable

from node.broker import Broker, DrainInfo
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.forward import is_forwarded, to_metadata_leader
from node.http.produce import timeout_of
from node.http.query import node_id, query_of

REBALANCE: Final = "/v1/cluster/rebalance"
_RETRY_S: Final = 0.05
_TIMEOUT: Final = frozenset({"timeout"})
_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
_ENCODER = msgspec.json.Encoder()


class _Replacement(msgspec.Struct, forbid_unknown_fields=True):
    node_id: str


_REPLACEMENT = msgspec.json.Decoder(_Replacement)


class Shaping:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def drain(self, request: web.Request) -> web.StreamResponse:
        """202: from now on its replicas go elsewhere."""
        node = node_id(request)
        path = f"/v1/nodes/{node}/drain"
        return await self._change(request, path, lambda broker, s: broker.drain(node, timeout_s=s))

    async def undrain(self, request: web.Request) -> web.StreamResponse:
        """202: what is on its way from there goes back."""
        node = node_id(request)
        path = f"/v1/nodes/{node}/drain"
        return await self._change(request, path, lambda broker, s: broker.undrain(node, timeout_s=s))

    async def drain_of(self, request: web.Request) -> web.StreamResponse:
        """How far it is."""
        node = node_id(request)
        timeout_s = self._timeout_of(request)
        return _answer(await self._context.broker.drain_of(node, timeout_s=timeout_s))

    async def removal(self, request: web.Request) -> web.StreamResponse:
        """What would become of its partitions without it."""
        node = node_id(request)
        timeout_s = self._timeout_of(request)
        return _answer(await self._context.broker.removal(node, timeout_s=timeout_s))

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """202: another node gets all that it has, and then it is removed."""
        node = node_id(request)

        async def change(broker: Broker, timeout_s: float) -> DrainInfo:
            wanted = await read_document(request, self._context, _REPLACEMENT, '{"node_id": "n4"}')
            if not wanted.node_id:
                raise InvalidRequest("the body's node_id is empty: name the node that takes the place")
            return await broker.retire(node, heir=wanted.node_id, timeout_s=timeout_s)

        return await self._change(request, f"/v1/nodes/{node}/replacement", change)

    async def rebalance(self, request: web.Request) -> web.StreamResponse:
        """202: it goes on until the nodes are even."""
        return await self._change(
            request, REBALANCE, lambda broker, s: broker.rebalance(begin=True, timeout_s=s)
        )

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """202: it ends, and what it has begun goes back."""
        return await self._change(
            request, REBALANCE, lambda broker, s: broker.rebalance(begin=False, timeout_s=s)
        )

    async def plan(self, request: web.Request) -> web.StreamResponse:
        """What it moves, or would; another node that asks hears how large are the partitions led here."""
        timeout_s = self._timeout_of(request)
        broker = self._context.broker
        if is_forwarded(request):
            return _answer({"sizes": {str(group): size for group, size in broker.sizes_led_here().items()}})
        return _answer(await broker.rebalance_plan(timeout_s=timeout_s))

    def _timeout_of(self, request: web.Request) -> float:
        return timeout_of(query_of(request, _TIMEOUT).get("timeout"), self._context)

    async def _change(
        self, request: web.Request, path: str, change: Callable[[Broker, float], Awaitable[Any]]
    ) -> web.StreamResponse:
        """On the metadata's leader, here or elsewhere: who leads may hand that over meanwhile."""
        timeout_s = self._timeout_of(request)
        broker = self._context.broker
        deadline = time.monotonic() + timeout_s
        while True:
            if not broker.metadata_leads_here:
                answer = await to_metadata_leader(self._context, request, path, timeout_s=timeout_s)
                if answer is not None:
                    return answer
            try:
                return _answer(await change(broker, timeout_s), status=202)
            except Unavailable:  # Nothing was changed.
                if is_forwarded(request) or request.body_exists or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_S)


def _answer(content: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode(content) + b"\n", headers=_JSON)
