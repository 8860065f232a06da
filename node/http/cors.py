"""CORS headers, so that the web pages that a node trusts can read its answers."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED_AGAIN_S: Final = 600
"""How long a browser may cache a preflight's answer."""
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
    """Whether a request is a browser's CORS preflight."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: web.BaseRequest) -> web.Response:
    """The answer: a trusted page may send every method and header, like any other client."""
    headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": str(_ASKED_AGAIN_S)}
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if _ASKED_HEADERS.fullmatch(asked):
        headers["Access-Control-Allow-Headers"] = asked
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    headers["Vary"] = "Access-Control-Request-Method, Access-Control-Request-Headers"
    return web.Response(status=204, headers=headers)


def allow(headers: CIMultiDict[str], origin: str) -> None:
    """Let a page of ``origin`` read an answer with all its headers."""
    headers["Access-Control-Allow-Origin"] = origin
    exposed = [
        name
        for name in headers
        if name.lower() not in _ALWAYS_READ | _OF_THE_CONNECTION
        and not name.lower().startswith("access-control-")
    ]
    headers["Access-Control-Expose-Headers"] = ", ".join(exposed)


def vary(headers: CIMultiDict[str]) -> None:
    """Keep caches from giving one page another page's answer."""
    known = headers.get("Vary")
    headers["Vary"] = f"{known}, Origin" if known else "Origin"
