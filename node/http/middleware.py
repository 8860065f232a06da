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
from aiohttp.web_protocol import RequestPayloadError
from floodmark.errors import FloodmarkError, InvalidRequest, RequestTimeout, ServerError

from node.http import problems
from node.http.context import HttpContext
from node.http.metrics import UNMATCHED
from node.http.quiet import Quiet

_LOG = structlog.get_logger("floodmark.http")
_DEBUG: Final = logging.getLogger("floodmark.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def outermost(context: HttpContext) -> Middleware:
    """The application's only middleware."""
    metrics = context.metrics
    quiet = Quiet(per_minute=60)

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            answer = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise  # The client is gone; there is nobody to answer.
        except Exception as error:  # noqa: BLE001  -- the last resort before the connection
            answer = _refusal(context, quiet, request, error)
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


def _refusal(
    context: HttpContext, quiet: Quiet, request: web.Request, error: Exception
) -> web.StreamResponse:
    request_id = context.next_request_id()
    headers: dict[str, str] = {}
    status = None
    if isinstance(error, web.HTTPException):
        status = error.status
        known, headers = problems.of_http_exception(error, request.path)
    elif isinstance(error, FloodmarkError):
        known = error
    elif isinstance(error, RequestPayloadError):
        known = InvalidRequest(f"the body is broken off or not well formed: {error}")
    else:
        known = ServerError("something went wrong here; the log has more under this request_id")
    unexpected = isinstance(known, ServerError)
    if (unexpected or known.status in (503, 504, 507)) and quiet.may_speak(known.code):
        _LOG.warning(
            "request failed",
            code=known.code,
            detail=known.detail,
            request_id=request_id,
            method=request.method,
            path=request.raw_path[:500],
            suppressed=quiet.take_suppressed(known.code),
            exc_info=error if unexpected else None,
        )
    if request.writer.output_size > 0:
        # Half of an answer is out: only a broken connection can still tell that something failed.
        raise ConnectionResetError("failed in the middle of an answer") from error
    answer = problems.respond(known, request_id, status=status, headers=headers)
    if isinstance(error, RequestTimeout | RequestPayloadError):
        answer.force_close()
    return answer
