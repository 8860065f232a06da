"""Making a connection to a peer port, with TLS where there is some, up to the other side's welcome."""

from __future__ import annotations

import asyncio
import errno
import ssl

from consensus.links.bulk_connection import BulkConnection
from consensus.links.dialed import DialedConnection, QueueOwner
from consensus.links.handshake import Dialing, PeerClaim
from consensus.links.link_tls import SHUTDOWN_S, NoTlsThere, explained
from consensus.links.link_types import LinkContext

Address = tuple[str, int]
"""Host and port."""


def is_refused(error: Exception) -> bool:
    """Whether a machine has answered that nobody listens at the address."""
    return isinstance(error, OSError) and error.errno == errno.ECONNREFUSED


async def welcomed_at(
    context: LinkContext,
    address: Address,
    target: str,
    owner: QueueOwner,
    bulk: BulkConnection | None = None,
) -> tuple[DialedConnection, PeerClaim]:
    """Dial and prove ourselves; the connection, and what the other side says of itself.

    With TLS, where this node has it; and while that is not required, without it at a node that has none. What
    speaks TLS is held to it. ``bulk`` takes the connection over: a peer hears no announcement on it. Raises
    ``OSError`` (timeouts are) and ``HandshakeFailed``.
    """
    if context.tls is None:
        return await _welcomed(context, address, target, owner, bulk)
    try:
        return await _welcomed(context, address, target, owner, bulk, tls=context.tls.client)
    except NoTlsThere:
        if context.tls.is_required:
            raise
        return await _welcomed(context, address, target, owner, bulk)


async def _welcomed(
    context: LinkContext,
    address: Address,
    target: str,
    owner: QueueOwner,
    bulk: BulkConnection | None,
    *,
    tls: ssl.SSLContext | None = None,
) -> tuple[DialedConnection, PeerClaim]:
    said = context.hooks.announce(target) if bulk is None else b""
    dialing = Dialing(context.identity, target, next(context.epochs), said, bulk=bulk is not None)
    host, port = address
    try:
        async with asyncio.timeout(context.options.connect_timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: DialedConnection(dialing, context.options, owner, bulk),
                host,
                port,
                ssl=tls,
                ssl_shutdown_timeout=None if tls is None else SHUTDOWN_S,
            )
    except (ssl.SSLError, ConnectionError) as error:
        if tls is None or isinstance(error, ConnectionRefusedError):
            raise
        raise explained(error) from error
    try:
        async with asyncio.timeout(context.options.handshake_timeout_s):
            return connection, await connection.welcomed
    except BaseException:
        connection.abort()
        raise
