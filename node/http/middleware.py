"""Around every handler: time it, count it, and turn whatever it raises into a problem document."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from node.http.context import HttpContext
from node.http.holding_back import hold_back
from node.http.metrics import UNMATCHED
from node.http.topic_id import was_asked
from node.service.topic_identity import told

_LOG = structlog.get_logger("floodmark.http")
_DEBUG: Final = logging.getLogger("floodmark.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def outermost(context: HttpContext) -> Middleware:
    """The application's only middleware."""
    metrics = context.metrics

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            answer = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise  # The client is gone; there is nobody to answer.
        except Exception as error:  # The last resort before the connection.
            if request.writer.output_size > 0:
                # Half of an answer is out: only a broken connection can still tell that something failed.
                raise ConnectionResetError("failed in the middle of an answer") from error
            await hold_back(request.protocol, error, context.service)
            answer = context.refusals.answer(
                told(error, was_asked(request)), request.method, request.path, request.raw_path
            )
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else UNMATCHED
        seconds = time.perf_counter() - started
        metrics.observe(route, request.method, answer.status, seconds)
        if _DEBUG.isEnabledFor(logging.DEBUG):
            _LOG.debug(
                "request",
                method=request.method,
                path=request.raw_path[:500],
                status=answer.status,
                ms=round(seconds * 1000, 2),
                remote=request.remote,
            )
        return answer

    return around
