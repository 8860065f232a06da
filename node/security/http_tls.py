"""TLS towards users: this node's certificate, and whose certificates of clients are taken.

A changed file makes a new context, which handshakes from then on use: connections that stand go on, but for
those of clients whose CA is gone.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from node.security.certificate_files import (
    Authorities,
    Period,
    covers,
    ending,
    hosts,
    own,
    still_trusts,
    trust,
    use_own,
)
from node.settings import HttpTlsSettings

_CONNECTION: Final = "connection"
_MODES: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class LoadedHttp:
    """What the files held at one time."""

    context: ssl.SSLContext
    authorities: Authorities
    periods: tuple[Period, ...]
    """Of its own certificate, and of those of the CAs."""
    hosts: tuple[str, ...]
    """Whom its own certificate is for."""


class HttpTls:
    """Raises ``NotUsable`` where files cannot be used at the start."""

    def __init__(self, settings: HttpTlsSettings, host: str = "") -> None:
        """``host``: by which clients and other nodes are told to reach this node."""
        self._settings = settings
        self._host = host
        self._now = self.load()

    @property
    def files(self) -> tuple[str, ...]:
        """All that has to be looked at for changes."""
        return self._settings.cert, self._settings.key, *self._settings.client_ca

    @property
    def context(self) -> ssl.SSLContext:
        """For handshakes that begin now."""
        return self._now.context

    def load(self) -> LoadedHttp:
        """What the files hold. Any thread may call. Raises ``NotUsable``."""
        settings = self._settings
        found = own("http.tls", settings, "client_ca", settings.client_ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = _MODES[settings.client_auth]
        if settings.client_auth != "off":
            # Each connection shows its certificate again: a session that is resumed would be as old as it.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
            trust(context, "http.tls.client_ca", found.authorities)
        use_own(context, "http.tls.key", settings.cert, settings.key)
        return LoadedHttp(context, found.authorities, found.periods, tuple(hosts(found.certificate)))

    def take(self, loaded: LoadedHttp) -> None:
        """Use this in every handshake from now on."""
        self._now = loaded

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Whether the client's certificate would be taken again, as far as its CA is concerned."""
        return still_trusts(self.context, made_by, self._now.authorities.trusted)

    @property
    def misnamed(self) -> str:
        """Why clients that go where they are told would not take this certificate; "" where they would."""
        if not self._host or covers(self._now.hosts, self._host):
            return ""
        names = ", ".join(self._now.hosts) or "no host"
        return (
            f"http.tls.cert: {self._settings.cert} is for {names}, and not for "
            f"{self._host}, by which this node is reached (http.advertise): clients refuse it"
        )

    def warnings(self, now: datetime) -> Iterator[str]:
        """What ends soon, or has ended."""
        for each in self._now.periods:
            yield from ending(each, now, what=_CONNECTION)
