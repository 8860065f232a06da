"""Who sends a request over HTTP: the same for those that come through aiohttp and those on the fast path.

A token goes before a certificate, and a wrong one is refused whatever else was shown. Builds that know no
inside line ask each other over this port: they are known by the mark of the cluster's nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from floodmark.errors import FloodmarkError, Unauthorized

from node.http.connection import Connection
from node.http.plain_head import AnyHead
from node.service.authentication import Identity, missing
from node.service.request_context import A_NODE, ANONYMOUS

if TYPE_CHECKING:
    from node.http.context import HttpContext

IDENTITY: Final = web.RequestKey("floodmark_identity", Identity)
NOBODY: Final = Identity(ANONYMOUS, "")
_PROTOCOL: Final = "http"
_OF_A_NODE: Final = Identity(A_NODE, "node")
_OPEN: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/v1/login"})
"""What strangers may ask for. These look themselves at who asks."""


async def authenticate(request: web.BaseRequest, context: HttpContext) -> None:
    """Find out who it is. Raises ``Unauthorized``, ``CredentialsUnconfirmed``.

    Where everybody may ask, nobody is refused for what they say they are.
    """
    if context.service.authenticator is None:
        if context.service.quotas.are_set and context.is_passed_on(request):
            request[IDENTITY] = _OF_A_NODE  # It was counted where it arrived.
        return
    try:
        request[IDENTITY] = await _identity(request, context)
    except FloodmarkError as error:
        # As it was sent: what only becomes one of these paths on the way to its route is not meant.
        is_open = request.raw_path.partition("?")[0] in _OPEN
        if isinstance(error, Unauthorized) and (not is_open or "Authorization" in request.headers):
            connection = request.protocol
            address = connection.address if isinstance(connection, Connection) else str(request.remote)
            context.service.unknown_credential(address, _PROTOCOL, error)
        if not is_open:
            raise


async def _identity(request: web.BaseRequest, context: HttpContext) -> Identity:
    authenticator = context.service.authenticator
    assert authenticator is not None, "the caller has looked"
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        return await authenticator.identify(authorization.encode("utf-8", "surrogateescape"))
    if context.is_passed_on(request):
        return _OF_A_NODE
    connection = request.protocol
    principal = connection.certified_as if isinstance(connection, Connection) else None
    if principal is None:
        if context.service.policy.admits_anonymous:
            return NOBODY
        raise missing()
    return await authenticator.certified(principal)


def plain_identity(head: AnyHead, connection: Connection, context: HttpContext) -> Identity | None:
    """Of a request on the fast path; None where it is not known at once."""
    authenticator = context.service.authenticator
    if authenticator is None:
        return _OF_A_NODE if head.is_from_node else NOBODY
    if head.credential is not None:
        return authenticator.known(head.credential)
    if head.is_from_node:
        return _OF_A_NODE
    principal = connection.certified_as
    return None if principal is None else authenticator.certified_at_once(principal)
