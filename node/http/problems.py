"""Errors as RFC 9457 problem documents: ``floodmark.errors`` decides the code, ``statuses.py`` the status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from floodmark.errors import (
    FloodmarkError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    TooLarge,
    Unavailable,
)

from node.http.statuses import status_of

PROBLEM_TYPE: Final = "application/problem+json"
_ENCODER = msgspec.json.Encoder()
_OF_STATUS: Final[Mapping[int, type[FloodmarkError]]] = {
    404: NotFound,
    405: MethodNotAllowed,
    408: RequestTimeout,
    413: TooLarge,
}
_UNAUTHORIZED: Final = 401
_RETRY_LATER: Final = (429, 503, 507)


def document(error: FloodmarkError, request_id: str, *, status: int | None = None) -> dict[str, Any]:
    """The members of the problem document. ``error.fields`` never override the standard ones."""
    cause = {"cause": error.cause} if isinstance(error, Unavailable) and error.cause else {}
    return {
        **error.fields,
        **cause,
        "type": f"urn:floodmark:error:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status or status_of(type(error)),
        "detail": _printable(error.detail),
        "code": error.code,
        "retriable": error.retriable,
        "request_id": request_id,
    }


def respond(
    error: FloodmarkError,
    request_id: str,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The answer for ``error``."""
    status = status or status_of(type(error))
    head = {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", "Server": "floodmark"}
    head["X-Content-Type-Options"] = "nosniff"
    head["Request-Id"] = request_id
    if status == _UNAUTHORIZED:
        head["WWW-Authenticate"] = 'Bearer realm="floodmark"'
    if status in _RETRY_LATER:
        head["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or 0)))
    if headers:
        head.update(headers)
    body = _ENCODER.encode(document(error, request_id, status=status)) + b"\n"
    return web.Response(status=status, body=body, headers=head)


def of_http_exception(error: web.HTTPException, path: str) -> tuple[FloodmarkError, dict[str, str]]:
    """aiohttp's own refusals as errors of this tree, with their headers."""
    kind = _OF_STATUS.get(error.status, InvalidRequest)
    headers: dict[str, str] = {}
    detail = error.reason or f"HTTP status {error.status}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        detail = f"{error.method} is not allowed here; use {headers['Allow']}"
    elif isinstance(error, web.HTTPNotFound):
        detail = f"there is nothing at {path[:200]}; GET /openapi.json lists what there is"
    elif isinstance(error, web.HTTPExpectationFailed):
        detail = "the header Expect can only be 100-continue"
    return kind(detail), headers


def raw_answer(error: FloodmarkError, *, status: int | None = None) -> bytes:
    """A whole HTTP/1.1 answer that closes the connection, for where no request could be read."""
    body = _ENCODER.encode(document(error, "-", status=status)) + b"\n"
    code = status or status_of(type(error))
    retry = "Retry-After: 1\r\n" if code in _RETRY_LATER else ""
    head = (
        f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Type: {PROBLEM_TYPE}\r\n{retry}"
        f"Server: floodmark\r\nX-Content-Type-Options: nosniff\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def as_bytes(answer: web.Response) -> bytes:
    """An answer as aiohttp would send it, for where there is no request of aiohttp's."""
    assert isinstance(answer.body, bytes), "problem documents are bytes"
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"Content-Length: {len(answer.body)}", f"Date: {rfc822_formatted_time()}", "", ""]
    return "\r\n".join(lines).encode() + answer.body


def _printable(text: str) -> str:
    """Bytes of a request that are not UTF-8 reach handlers as surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()
