"""Requests that another node has passed on."""

from __future__ import annotations

from typing import Final

from aiohttp import web

FORWARDED: Final = "Floodmark-Forwarded"
"""A request with it was passed on by a node, and is not passed on again, whoever sends it."""


def is_forwarded(request: web.Request) -> bool:
    """Whether another node has passed this request on."""
    return FORWARDED in request.headers
