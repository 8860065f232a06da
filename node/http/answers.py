"""Administrative requests over HTTP: the timeout, the request to the service, the answer."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from node.http.context import HttpContext
from node.http.leader_headers import leader_headers
from node.http.produce import timeout_of
from node.http.query import query_of
from node.http.request_context import request_context
from node.service.requests import Request, Served
from node.service.router import not_here

JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
TIMEOUT: Final = frozenset({"timeout"})
NO_QUERY: Final[frozenset[str]] = frozenset()
_ENCODER = msgspec.json.Encoder()
R = TypeVar("R")


class Desk:
    """One per group of handlers. All administration goes through it to the service, and so is authorized."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def ask(
        self, request: web.Request, asked: Request[R], *, timeout_s: float | None = None, size: int = 0
    ) -> Served[R]:
        """The service's result. Without ``timeout_s`` the default timeout applies.

        ``size``: of the body.
        """
        if (
            asked.at_metadata_leader
            and self._context.is_passed_on(request)
            and not self._context.broker.metadata.leads_here
        ):
            raise not_here(None, "the metadata")  # Else two nodes could pass it back and forth.
        if timeout_s is None:
            timeout_s = self._context.settings.produce_timeout_s
        return await self._context.service.ask(request_context(request).within(timeout_s), asked, size=size)

    async def show(
        self, request: web.Request, asked: Request[Any], *, known: frozenset[str] = TIMEOUT, status: int = 200
    ) -> web.Response:
        """The answer to a request without a body, and with at most a timeout in its query."""
        timeout_s = self.timeout_of(request, known)
        return self.answer(*await self.ask(request, asked, timeout_s=timeout_s), status=status)

    def timeout_of(self, request: web.Request, known: frozenset[str] = TIMEOUT) -> float:
        """Raises ``InvalidRequest`` for anything in the query that is not ``known``."""
        return timeout_of(query_of(request, known).get("timeout"), self._context)

    def answer(
        self,
        result: Any,
        node: str,
        by_leader: bool = False,  # noqa: FBT001, FBT002 - as ``Served`` has it
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        """What a request has come to as JSON, see ``Served``. None is 204, without a body."""
        led = {**(leader_headers(self._context.broker, node) if by_leader else {}), **(headers or {})}
        if result is None:
            return web.Response(status=204, headers={"Server": "floodmark", **led})
        return web.Response(status=status, body=_ENCODER.encode(result) + b"\n", headers={**JSON, **led})
