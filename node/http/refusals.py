"""Turns whatever a handler raises into a problem document, and logs what an operator should know."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from floodmark.errors import (
    CredentialsUnconfirmed,
    FloodmarkError,
    InvalidRequest,
    RequestTimeout,
    ServerError,
)

from node.broker import Broker
from node.http import problems
from node.http.leader_headers import leader_headers
from node.http.statuses import status_of
from node.service.refused_by import refused_by

_LOG = structlog.get_logger("floodmark.http")


class Refusals:
    """One per application. ``next_request_id`` gives ids that no other process gives."""

    def __init__(self, broker: Broker, next_request_id: Callable[[], str]) -> None:
        self._broker = broker
        self._next_request_id = next_request_id

    def answer(self, error: Exception, method: str, path: str, raw_path: str) -> web.Response:
        """The answer to a request that ended with ``error`` before any of its answer was sent."""
        told = error.request_id if isinstance(error, FloodmarkError) else ""
        request_id = told or self._next_request_id()
        headers: dict[str, str] = {}
        status = None
        if isinstance(error, web.HTTPException):
            status = error.status
            known, headers = problems.of_http_exception(error, path)
        elif isinstance(error, FloodmarkError):
            known = error
            leader = refused_by(known, self._broker.node_id)
            headers = {} if leader is None else leader_headers(self._broker, leader)
        elif isinstance(error, RequestPayloadError):
            known = InvalidRequest(f"the body is cut off or malformed: {error}")
        else:
            known = ServerError("something went wrong here; the log has more under this request_id")
        unexpected = isinstance(known, ServerError)
        is_logged = status_of(type(known)) in (503, 504, 507) and not isinstance(
            known, CredentialsUnconfirmed
        )
        if unexpected or is_logged:  # Strangers could fill the log with the exception.
            _LOG.warning(
                "request failed",
                code=known.code,
                detail=known.detail,
                request_id=request_id,
                method=method,
                path=raw_path[:500],
                exc_info=error if unexpected else None,
            )
        answer = problems.respond(known, request_id, status=status, headers=headers)
        if isinstance(error, RequestTimeout | RequestPayloadError):
            answer.force_close()
        return answer
