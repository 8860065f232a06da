"""The certificates of this node for its links, as contexts of TLS 1.3 that take both sides' certificates.

Nothing but the files decides: no CA of the operating system is trusted, and sessions are not resumed, so that
each connection shows its certificates again.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from node.security.certificate_files import (
    Authorities,
    NotUsable,
    Period,
    ending,
    own,
    still_trusts,
    trust,
    use_own,
)
from node.settings import PeerTlsSettings

_LINK: Final = "link"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files held at one time."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    authorities: Authorities
    periods: tuple[Period, ...]
    """Of its own certificate, and of those of the CAs."""


class PeerTls:
    """Satisfies ``LinkTls`` of the links. Raises ``NotUsable`` where files cannot be used at the start."""

    def __init__(self, settings: PeerTlsSettings, *, name: str) -> None:
        """``name``: the URI that the certificate has to have."""
        self._settings = settings
        self._name = name
        self._now = self.load()

    @property
    def files(self) -> tuple[str, ...]:
        """All that has to be looked at for changes."""
        return self._settings.cert, self._settings.key, *self._settings.ca

    @property
    def is_required(self) -> bool:
        """Whether there are only links with TLS."""
        return self._settings.mode == "require"

    @property
    def server(self) -> ssl.SSLContext:
        """For accepted connections."""
        return self._now.server

    @property
    def client(self) -> ssl.SSLContext:
        """For connections to others."""
        return self._now.client

    def load(self) -> Loaded:
        """What the files hold. Any thread may call. Raises ``NotUsable``."""
        found = own("peer.tls", self._settings, "ca", self._settings.ca)
        self._check_name(found.certificate)
        return Loaded(
            server=self._context(ssl.PROTOCOL_TLS_SERVER, found.authorities),
            client=self._context(ssl.PROTOCOL_TLS_CLIENT, found.authorities),
            authorities=found.authorities,
            periods=found.periods,
        )

    def take(self, loaded: Loaded) -> None:
        """Use this in every handshake from now on."""
        self._now = loaded

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Whether the other side's certificate would be taken again, as far as its CA is concerned."""
        if made_by.context is self.client:
            return True
        return still_trusts(self.server, made_by, self._now.authorities.trusted)

    def warnings(self, now: datetime) -> Iterator[str]:
        """What ends soon, or has ended."""
        for each in self._now.periods:
            yield from ending(each, now, what=_LINK)

    def _context(self, protocol: int, found: Authorities) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Whom a certificate is for is compared with what its owner claims, not with an address.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
        use_own(context, "peer.tls.key", self._settings.cert, self._settings.key)
        trust(context, "peer.tls.ca", found)
        return context

    def _check_name(self, own: x509.Certificate) -> None:
        try:
            names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            uris = []
        if uris != [self._name]:
            raise NotUsable(
                f"peer.tls.cert: {self._settings.cert} is for {' and '.join(uris) or 'no URI'}, and this "
                f"node is {self._name}: `floodmark cert node` makes one"
            )
