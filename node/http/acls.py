"""Access control lists over HTTP: list, add, remove, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.answers import TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.query import flag, query_of
from node.service.acls import AclFilter, Acls, AddAcls, DecideAcl, ListAcls, RemoveAcls

_FILTER: Final = TIMEOUT | {"principal", "kind", "name", "pattern", "operation", "allow"}
_DECIDE: Final = TIMEOUT | {"principal", "kind", "name", "operation"}
_EXAMPLE: Final = (
    '{"acls": [{"principal": "alice", "kind": "topic", "name": "orders", "pattern": "literal", '
    '"operation": "read", "allow": true}]}'
)


class AclsBody(msgspec.Struct, forbid_unknown_fields=True):
    """The entries that are to be there."""

    acls: Acls


_BODY = msgspec.json.Decoder(AclsBody)


class AccessControl:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The entries, or some of them."""
        which = _filter(query_of(request, _FILTER))
        return await self._desk.show(request, ListAcls(which=which), known=_FILTER)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Add entries: all of them, or none."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _BODY, _EXAMPLE)
        asked = AddAcls(acls=wanted.acls)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove entries, and say which they were."""
        which = _filter(query_of(request, _FILTER))
        return await self._desk.show(request, RemoveAcls(which=which), known=_FILTER)

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Whether a principal may do something, and why."""
        query = query_of(request, _DECIDE)
        for name in ("principal", "operation", "kind"):
            if name not in query:
                raise InvalidRequest(
                    f"{name} is missing: ask as in ?principal=alice&operation=read&kind=topic&name=orders"
                )
        asked = DecideAcl(
            principal=query["principal"],
            asked=query["operation"],
            kind=query["kind"],
            name=query.get("name", ""),
        )
        return await self._desk.show(request, asked, known=_DECIDE)


def _filter(query: Mapping[str, str]) -> AclFilter:
    return AclFilter(
        principal=query.get("principal"),
        kind=query.get("kind"),
        name=query.get("name"),
        pattern=query.get("pattern"),
        operation=query.get("operation"),
        allow=flag(query, "allow") if "allow" in query else None,
    )
