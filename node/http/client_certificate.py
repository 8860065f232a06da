"""Who a client is by the certificate that it has shown."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from node.service.request_context import ANONYMOUS

_NAME: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9._@-]{1,64}", re.ASCII)


class Certified(NamedTuple):
    """A principal, and until when the certificate holds, in seconds since 1970."""

    principal: str
    until_s: float


def certified_by(transport: asyncio.BaseTransport) -> Certified | None:
    """Whom the client's certificate names. TLS has checked that it is of a trusted CA; None without one."""
    shown: dict[str, Any] | None = transport.get_extra_info("peercert")
    if not shown:
        return None
    principal = principal_of(shown)
    if principal is None:
        return None
    return Certified(principal, ssl.cert_time_to_seconds(shown["notAfter"]))


def principal_of(certificate: dict[str, Any]) -> str | None:
    """The user of ``spiffe://<anything>/user/<name>``; without such a URI, the first DNS name.

    Where there is a SPIFFE id it alone says who it is: a node's certificate names no user by its hosts.
    """
    names = certificate.get("subjectAltName", ())
    ids = [value for kind, value in names if kind == "URI" and value.lower().startswith("spiffe:")]
    if ids:
        found = _user_of(ids[0]) if len(ids) == 1 else None
    else:
        found = next((value for kind, value in names if kind == "DNS"), None)
    if found is None or found == ANONYMOUS or not _NAME.fullmatch(found):
        return None
    return str(found)


def _user_of(spiffe_id: str) -> str | None:
    kind, _, name = urlsplit(spiffe_id).path.removeprefix("/").partition("/")
    return unquote(name) if kind == "user" else None
