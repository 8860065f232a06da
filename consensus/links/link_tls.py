"""TLS on links: which node a certificate speaks for, and by what a link that stands was proved.

A node's certificate has one name that counts, a URI of the form ``spiffe://<cluster id>/node/<node id>``.
Both sides compare it with what the other one claims in the handshake inside, so that the certificate of one
node opens nothing under the name of another, and one of another cluster opens nothing at all.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

from consensus.links.handshake import WHOEVER, TlsFailed

ONLY_TLS: Final = bytes((0x15, 3, 3, 0, 2, 2, 70))
"""TLS's own word (an alert) for a protocol that it does not speak. A dialer without TLS hears it from a node
that takes nothing else, and both logs say the same."""
OUTDATED: Final = "the secret or certificate by which it was proved does not count any more"
SHUTDOWN_S: Final = 1.0
"""How long TLS's own end of a connection may take."""


class NoTlsThere(TlsFailed):
    """The other side ended the connection, or answered something else, when TLS was to begin."""

    is_certain = False


class ClosedAfterTls(TlsFailed):
    """It looks at the certificate of whoever has dialled when TLS stands there already, and says nothing."""

    is_certain = False


class LinkTls(Protocol):
    """What a node's links need of TLS. Each handshake uses the contexts of its time."""

    @property
    def is_required(self) -> bool:
        """Whether links without TLS are refused, and none is made."""
        ...

    @property
    def server(self) -> ssl.SSLContext:
        """For accepted connections: the dialer shows a certificate, too."""
        ...

    @property
    def client(self) -> ssl.SSLContext:
        """For connections that this node makes."""
        ...

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Whether what the other side has shown on a connection that stands would be taken today."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what the two sides of a connection are proved."""

    secret: bytes = field(repr=False)
    tls: ssl.SSLObject | None = None
    """None on a plain connection."""


def node_uri(cluster_id: str, node_id: str) -> str:
    """The name in the certificate of a node."""
    return f"{_prefix(cluster_id)}{quote(node_id, safe='')}"


def tls_of(transport: asyncio.BaseTransport) -> ssl.SSLObject | None:
    """None where there is none on this connection."""
    found: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return found


def certified(tls: ssl.SSLObject, cluster_id: str) -> str:
    """The node of this cluster whose certificate the other side has shown. Raises ``TlsFailed``."""
    found: Any = tls.getpeercert() or {}
    names = [name for kind, name in found.get("subjectAltName", ()) if kind == "URI"]
    if len(names) != 1:
        said = f"{len(names)} URIs" if names else "no URI"
        raise TlsFailed(
            f"its certificate names {said}, where one node is named: {node_uri(cluster_id, 'ID')}"
        )
    prefix = _prefix(cluster_id)
    if not names[0].startswith(prefix) or len(names[0]) == len(prefix):
        raise TlsFailed(f"its certificate is for {names[0]}, and not for a node of this cluster ({prefix}ID)")
    return unquote(names[0][len(prefix) :])


def check(tls: ssl.SSLObject, cluster_id: str, node_id: str) -> str:
    """Whom its certificate names, which has to be ``node_id``, or anybody. Raises ``TlsFailed``."""
    named = certified(tls, cluster_id)
    if node_id not in (WHOEVER, named):
        raise TlsFailed(f"its certificate is for node {named}, and not for {node_id}")
    return named


def explained(error: Exception) -> TlsFailed:
    """What became of a TLS handshake, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(f"its certificate does not count here: {error.verify_message}")
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if "ALERT_PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return TlsFailed("it does not speak TLS 1.3")
    if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reason:
        return TlsFailed("it has shown no certificate")
    if "ALERT" in reason:
        word = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return TlsFailed(f"it does not take this node's certificate ({word}); its log says why")
    if isinstance(error, ConnectionError | ssl.SSLEOFError) or reason in _NO_TLS:
        return NoTlsThere("it ended the connection instead of TLS: maybe its peer.tls.mode is off")
    return TlsFailed(f"TLS failed: {reason or error}")


_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST"})


def _prefix(cluster_id: str) -> str:
    return f"spiffe://{quote(cluster_id, safe='')}/node/"
