"""What every request must satisfy before its meaning matters: the same at every node and on every path.

A request may be served here, forwarded, or sent on in parts. What these could not carry alike, or what is
ambiguous in HTTP, is refused before its route is looked up.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from floodmark.errors import FloodmarkError, Forbidden, InvalidRequest, Misdirected, UnsupportedMedia

from node.http import cors
from node.http.admission import may_be_spared
from node.http.authentication import IDENTITY, NOBODY, authenticate
from node.http.connection import Connection
from node.http.context import HttpContext
from node.http.head_errors import TooManyHeaders, UnknownTransferCoding
from node.http.media import BODIES, is_form
from node.http.metrics import UNMATCHED
from node.http.origins import Origins
from node.http.owned import NotAnotherConnection, own

ADDED_HEADERS: Final = 4
"""What a request may gain on its way (a host, a length, ``Floodmark-Forwarded``), and one to spare."""
_ONCE: Final = frozenset(
    {"authorization", "content-encoding", "floodmark-position", "floodmark-topic-id", "if-offset"}
    | {"last-event-id"}
    | {"origin", "sec-fetch-site", "traceparent"}
)
_ONCE_BEGIN: Final = ("producer-", "record-")
"""Headers that are read as one value. Where HTTP itself allows only one, aiohttp refuses more."""
_AGAIN_BEGIN: Final = "record-header-"
"""These may repeat, as headers of a record may."""

_CLOSING: Final = (UnknownTransferCoding, TooManyHeaders, NotAnotherConnection)
"""After these a connection is closed: where its body ends is not known, or it was one too many."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Door:
    """One per application."""

    def __init__(self, context: HttpContext, origins: Origins) -> None:
        self._context = context
        self._origins = origins
        self._service = context.service

    def around(self, handler: Handler) -> Handler:
        """``handler`` behind the door. What is refused here never reaches a route."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            started = time.perf_counter()
            try:
                self._check(request)
                if (crowded := _crowded(request)) is not None:
                    return await self._at_a_spare_place(request, handler, crowded)
                if cors.is_preflight(request) and request.headers.get("Origin") in self._origins.listed:
                    return self._closing(request, cors.preflight(request), started)
                await authenticate(request, self._context)
                if self._service.quotas.count_connections:
                    own(request.protocol, request.get(IDENTITY, NOBODY).principal, self._service)
                return await handler(request)
            except (FloodmarkError, web.HTTPException) as error:
                refusal = self._context.refusals.answer(error, request.method, request.path, request.raw_path)
                if isinstance(error, _CLOSING) or _crowded(request) is not None:
                    refusal.force_close()
                return self._closing(request, refusal, started)

        return answer

    async def _at_a_spare_place(
        self, request: web.BaseRequest, handler: Handler, crowded: FloodmarkError
    ) -> web.StreamResponse:
        """One request that helps, also of a node in somebody else's name."""
        if not may_be_spared(request) and not self._context.is_passed_on(request):
            raise crowded
        await authenticate(request, self._context)
        answer = await handler(request)
        answer.force_close()
        return answer

    def _closing(self, request: web.BaseRequest, answer: web.Response, started: float) -> web.Response:
        """Answers from here pass no middleware and no signal."""
        self.seal(request, answer)
        seconds = time.perf_counter() - started
        self._context.metrics.observe(UNMATCHED, request.method, answer.status, seconds)
        return answer

    async def on_response_prepare(self, request: web.Request, answer: web.StreamResponse) -> None:
        """For aiohttp's signal: every answer of a route passes here before its head is sent."""
        self.seal(request, answer)

    def seal(self, request: web.BaseRequest, answer: web.StreamResponse) -> None:
        """Add the headers that every answer has, and those that a trusted page's browser needs."""
        headers = answer.headers
        headers["Server"] = "floodmark"
        headers["X-Content-Type-Options"] = "nosniff"
        if not self._origins.listed:
            return
        origin = request.headers.get("Origin")
        if origin in self._origins.listed:
            cors.allow(headers, origin)
        cors.vary(headers)

    def _check(self, request: web.BaseRequest) -> None:
        if request.version.major < 1:
            raise InvalidRequest("a request line ends with its version, as in HTTP/1.1")
        headers = request.raw_headers
        # Several look-ups for each request: far cheaper than in aiohttp's mapping.
        known = {name.lower(): value for name, value in headers}
        has_repeated = len(known) < len(headers)
        if has_repeated or not b"".join(known.values()).isascii():
            _check_text(headers)
        if len(headers) > self._context.settings.headers_max and not self._context.is_passed_on(request):
            raise TooManyHeaders(f"more than {self._context.settings.headers_max} headers")
        if has_repeated:
            _check_repeated(headers)
        self._check_host(request)
        if b"origin" in known or b"sec-fetch-site" in known:
            self._check_page(request)
        if b"transfer-encoding" in known:
            _check_coding(request.headers["Transfer-Encoding"])

    def _check_host(self, request: web.BaseRequest) -> None:
        for name in (request.headers.get("Host"), _target_host(request)):
            if name is not None and not self._origins.knows_host(name):
                raise Misdirected(
                    f"{name[:100]!r} is not a name of this node: use its address, localhost, or "
                    "what http.advertise says; other names go into the setting http.hosts"
                )

    def _check_page(self, request: web.BaseRequest) -> None:
        headers = request.headers
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if not self._origins.may_ask(origin, site, headers.get("Host") or ""):
            page = repr(origin[:100]) if origin else "another site"
            raise Forbidden(
                f"a web page of {page} may not use this node; "
                "the setting http.cors_origins lists the origins of those that may"
            )
        if is_form(headers.get("Content-Type")):
            raise UnsupportedMedia(
                "a web form is not a record: send JSON, as application/json",
                supported=[str(known) for known in BODIES],
            )


def _crowded(request: web.BaseRequest) -> FloodmarkError | None:
    """Why there is no room for this request's connection, if so."""
    connection = request.protocol
    return connection.spare_for if isinstance(connection, Connection) else None


def _target_host(request: web.BaseRequest) -> str | None:
    """The host in a target that is a whole URL, as sent to proxies."""
    target = request.raw_path
    if target.startswith("/") or "://" not in target:
        return None
    return urlsplit(target).netloc


def _check_coding(coding: str) -> None:
    if coding.strip().lower() != "chunked":
        raise UnknownTransferCoding(
            f"transfer coding {coding[:50]!r} is not supported, only chunked; "
            "compress a body with Content-Encoding instead"
        )


def _check_text(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Bytes that are not UTF-8 would be replaced or dropped on the way to another node."""
    for name, value in headers:
        if not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError as error:
                raise InvalidRequest(
                    f"the header {name.decode()} is not UTF-8 ({error.reason} at byte {error.start}); "
                    "a key of any bytes goes into Record-Key-B64, and a header of a record is text"
                ) from error


def _check_repeated(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Refuses repeated headers: one of the two values would be lost."""
    seen: set[str] = set()
    for raw_name, _ in headers:
        name = raw_name.decode().lower()
        if name in seen and _is_once(name):
            raise InvalidRequest(f"the header {raw_name.decode()} is given twice")
        seen.add(name)


def _is_once(name: str) -> bool:
    return name in _ONCE or (name.startswith(_ONCE_BEGIN) and not name.startswith(_AGAIN_BEGIN))


DOOR: Final = web.AppKey("floodmark_door", Door)
