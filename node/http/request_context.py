"""The one place where an HTTP request becomes a ``RequestContext``.

``authentication.py`` has found out the principal before.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from node.http.authentication import IDENTITY, NOBODY
from node.http.connection import Connection
from node.http.plain_head import AnyHead
from node.service.authentication import Identity
from node.service.repeated_batches import TRACE
from node.service.request_context import RequestContext

PROTOCOL: Final = "http"


def request_context(request: web.Request) -> RequestContext:
    """The context of a request through aiohttp; its handler asks for it once."""
    headers = request.headers
    identity = request.get(IDENTITY, NOBODY)
    return RequestContext(
        protocol=PROTOCOL,
        principal=identity.principal,
        credential=identity.credential,
        expires_ms=identity.expires_ms,
        client_id=headers.get("User-Agent", ""),
        address=address_of(request),
        trace=headers.get(TRACE),
    )


def plain_request_context(head: AnyHead, address: str, identity: Identity) -> RequestContext:
    """Of a request on the fast path, from a client at ``address``. A plain head has no trace."""
    return RequestContext(
        protocol=PROTOCOL,
        principal=identity.principal,
        credential=identity.credential,
        client_id=head.client_id,
        address=address,
    )


def address_of(request: web.BaseRequest) -> str:
    """The client's address, without its port."""
    protocol = request.protocol
    return protocol.address if isinstance(protocol, Connection) else str(request.remote)
