"""Drains, replacements and rebalances over HTTP: begin, end, and progress."""

from __future__ import annotations

import msgspec
from aiohttp import web

from node.http.answers import Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.node_view import is_own_view
from node.service.moves import DescribeSizes
from node.service.nodes import (
    DescribeDrain,
    DescribeRemoval,
    DrainNode,
    PlanRebalance,
    Rebalance,
    ReplaceNode,
)


class ReplacementBody(msgspec.Struct, forbid_unknown_fields=True):
    """The node that takes the place."""

    node_id: str


_REPLACEMENT = msgspec.json.Decoder(ReplacementBody)


class Shaping:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def drain(self, request: web.Request) -> web.StreamResponse:
        """202: its replicas are being moved elsewhere."""
        return await self._desk.show(request, DrainNode(node=_node(request)), status=202)

    async def undrain(self, request: web.Request) -> web.StreamResponse:
        """202: moves from it under way turn back."""
        return await self._desk.show(request, DrainNode(node=_node(request), undo=True), status=202)

    async def drain_of(self, request: web.Request) -> web.StreamResponse:
        """How far it is."""
        return await self._desk.show(request, DescribeDrain(node=_node(request)))

    async def removal(self, request: web.Request) -> web.StreamResponse:
        """What would happen to its partitions without it."""
        return await self._desk.show(request, DescribeRemoval(node=_node(request)))

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """202: another node gets all its replicas, then it is removed."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _REPLACEMENT, '{"node_id": "n4"}')
        asked = ReplaceNode(node=_node(request), by=wanted.node_id)
        return self._desk.answer(
            *await self._desk.ask(request, asked, timeout_s=timeout_s, size=size), status=202
        )

    async def rebalance(self, request: web.Request) -> web.StreamResponse:
        """202: the rebalance goes on until the nodes are even."""
        return await self._desk.show(request, Rebalance(begin=True), status=202)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """202: the rebalance ends, and its moves turn back."""
        return await self._desk.show(request, Rebalance(begin=False), status=202)

    async def plan(self, request: web.Request) -> web.StreamResponse:
        """What it moves, or would; a node of an earlier build hears how large are the partitions led here."""
        is_of_node = is_own_view(self._context, request, {})
        return await self._desk.show(request, DescribeSizes() if is_of_node else PlanRebalance())


def _node(request: web.Request) -> str:
    return request.match_info["node"]
