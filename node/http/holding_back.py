"""Whoever asks again sooner than it was told gets its refusal late."""

from __future__ import annotations

import asyncio

from floodmark.errors import TooManyRequests

from node.http.connection import Connection
from node.service.service import Service


async def hold_back(connection: object, error: Exception, service: Service) -> None:
    """Wait before a refusal for a quota is sent: else refusing could take all of the node's time, and nobody
    else would get any. Nothing that the client sent is held meanwhile. Returns at once for any other error.
    """
    if (
        isinstance(error, TooManyRequests)
        and "quota" in error.fields
        and isinstance(connection, Connection)
        and (late_s := connection.held_back_s(error.retry_after_s or 0.0))
    ):
        await service.unless_draining(asyncio.sleep(late_s))
