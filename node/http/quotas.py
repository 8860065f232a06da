"""Quotas over HTTP: list, set, remove."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from node.broker import QuotaLimits
from node.http.answers import Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.service.quotas import ListQuotas, RemoveQuota, SetQuota

_EXAMPLE: Final = '{"produce_bytes_per_s": 1048576, "requests_per_s": 100}'
_LIMITS = msgspec.json.Decoder(QuotaLimits)


class Quotas:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """All of them, in order of principal."""
        return await self._desk.show(request, ListQuotas())

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Set a principal's limits, all at once."""
        timeout_s = self._desk.timeout_of(request)
        limits, size = await read_document(request, self._context, _LIMITS, _EXAMPLE)
        asked = SetQuota(principal=request.match_info["principal"], limits=limits)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove a principal's quota: 204."""
        return await self._desk.show(request, RemoveQuota(principal=request.match_info["principal"]))
