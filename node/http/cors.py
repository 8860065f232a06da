"""What browsers are told, so that the web pages that a node trusts can read its answers (CORS)."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED_AGAIN_S: Final = 600
"""How long a browser keeps what a preflight said."""
_ASKED_HEADERS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_ALWAYS_READ: Final = frozenset(
    {
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    }
)
_OF_THE_CONNECTION: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "vary", "set-cookie"})


def is_preflight(request: web.BaseRequest) -> bool:
    """Whether a browser asks if a page may send some other request."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: web.BaseRequest) -> web.Response:
    """Yes: a page that is trusted may send every method and header, as any other client may."""
    headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": str(_ASKED_AGAIN_S)}
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if _ASKED_HEADERS.fullmatch(asked):
        headers["Access-Control-Allow-Headers"] = asked
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    headers["Vary"] = "Access-Control-Request-Method, Access-Control-Request-Headers"
    return web.Response(status=204, headers=headers)


def allow(headers: CIMultiDict[str], origin: str) -> None:
    """Let a page of ``origin`` read an answer, all of its headers included."""
    headers["Access-Control-Allow-Origin"] = origin
    exposed = [
        name
        for name in headers
        if name.lower() not in _ALWAYS_READ | _OF_THE_CONNECTION
        and not name.lower().startswith("access-control-")
    ]
    headers["Access-Control-Expose-Headers"] = ", ".join(exposed)


def vary(headers: CIMultiDict[str]) -> None:
    """Keep caches from giving one page what another was told."""
    known = headers.get("Vary")
    headers["Vary"] = f"{known}, Origin" if known else "Origin"
