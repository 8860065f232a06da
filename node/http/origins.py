"""Which names a node answers to, and which web pages may use it.

Any page in a browser can send requests to any address that this browser reaches, localhost and private
networks included: so the origin that the browser names is checked. A page whose own name was made to resolve
to this node (DNS rebinding) is of the same origin to the browser: so the requested host is checked too.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_KNOWN_MAX: Final = 1024
_LENGTH_MAX: Final = 300
_AUTHORITY = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_OF_THIS_SITE: Final = ("same-origin", "none")


class Origins:
    """``hosts`` and ``cors_origins`` are settings; ``addresses`` are the node's own URLs or host:port."""

    def __init__(
        self, *, hosts: Iterable[str] = (), cors_origins: Iterable[str] = (), addresses: Iterable[str] = ()
    ) -> None:
        urls = [urlsplit(address if "://" in address else f"//{address}") for address in addresses]
        own = [authority[0] for url in urls if (authority := _authority(url.netloc, 0)) is not None]
        self._hosts = frozenset([*own, *(host.lower() for host in hosts)])
        # A page that came without TLS may be anybody's: it is not of the same origin as a port that has it.
        self._schemes = frozenset(url.scheme for url in urls if url.scheme) or frozenset({"http"})
        self.listed = frozenset(cors_origins)
        """Origins of web pages that may do everything."""
        self._judged = functools.lru_cache(_KNOWN_MAX)(self._judge)

    def knows_host(self, host: str) -> bool:
        """Whether ``Host`` is a loopback name, an address, or a name of this node; its port says nothing."""
        return len(host) <= _LENGTH_MAX and self._judged(host)

    def _judge(self, host: str) -> bool:
        authority = _authority(host, 0)
        if authority is None:
            return False
        name = authority[0]
        return name in self._hosts or name == "localhost" or name.endswith(".localhost") or _is_address(name)

    def may_ask(self, origin: str | None, site: str | None, host: str) -> bool:
        """Whether to serve a request with this ``Origin``, ``Sec-Fetch-Site`` and known ``Host``."""
        if origin is not None and origin in self.listed:
            return True
        if site is not None and site not in _OF_THIS_SITE:
            return False
        return origin is None or self._is_own(origin, host)

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, _, rest = origin.partition("://")
        port = _PORTS.get(scheme, 0)
        authority = _authority(rest, port)
        return scheme in self._schemes and authority is not None and authority == _authority(host, port)


def _authority(text: str, port: int) -> tuple[str, int] | None:
    """A name in lower case, without the root's dot, and the port; an IPv6 address in brackets."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    return match[1].lower().removesuffix("."), int(match[2] or port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return name.startswith("[") == (":" in name)
