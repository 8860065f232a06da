"""The certificates of this node for its links, as contexts of TLS 1.3 that take both sides' certificates.

Nothing but the files decides: no CA of the operating system is trusted, and sessions are not resumed, so that
each connection shows its certificates anew.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from node.settings import PeerTlsSettings

_WARN_BEFORE: Final = timedelta(days=30)
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class NotUsable(Exception):
    """These files cannot be used; the text says which setting is wrong, and why."""


class Period(NamedTuple):
    """From when to when a certificate counts."""

    what: str
    """The setting and the file."""
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files held at one time."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    own: x509.Certificate
    trusted: tuple[x509.Certificate, ...]
    """The CAs."""
    periods: tuple[Period, ...]
    """Of all of these."""


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
        _check_mode("peer.tls.key", self._settings.key)
        (own, *_) = _certificates("peer.tls.cert", self._settings.cert)
        self._check_name(own)
        periods = [_period("peer.tls.cert", self._settings.cert, own)]
        trusted = []
        for path in self._settings.ca:
            found = _certificates("peer.tls.ca", path)
            trusted += found
            periods += [_period("peer.tls.ca", path, each) for each in found]
        return Loaded(
            server=self._context(ssl.PROTOCOL_TLS_SERVER, trusted),
            client=self._context(ssl.PROTOCOL_TLS_CLIENT, trusted),
            own=own,
            trusted=tuple(trusted),
            periods=tuple(periods),
        )

    def take(self, loaded: Loaded) -> None:
        """Use this in every handshake from now on."""
        self._now = loaded

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Whether no CA has gone since, or the other side's certificate is of one that is there.

        One that an authority in between has made is not looked into any further: its link is made anew.
        """
        before = made_by.context
        if before is self.server or before is self.client:
            return True
        if set(before.get_ca_certs(binary_form=True)) <= set(self.server.get_ca_certs(binary_form=True)):
            return True
        shown = made_by.getpeercert(binary_form=True)
        return shown is not None and _is_of_any(shown, self._now.trusted)

    def warnings(self, now: datetime) -> Iterator[str]:
        """What ends soon, or has ended."""
        for period in self._now.periods:
            yield from _ending(period, now)

    def _context(self, protocol: int, trusted: list[x509.Certificate]) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Whom a certificate is for is compared with what its owner claims, not with an address.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
        try:
            context.load_cert_chain(self._settings.cert, self._settings.key, password=_no_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError.
            why = "it is not the key of the certificate" if "MISMATCH" in str(error) else str(error)
            raise NotUsable(f"peer.tls.key: {self._settings.key}: {why}") from error
        pem = "".join(ssl.DER_cert_to_PEM_cert(_der(each)) for each in trusted)
        try:
            context.load_verify_locations(cadata=pem)
        except ssl.SSLError as error:
            raise NotUsable(f"peer.tls.ca: {error}") from error
        if len(context.get_ca_certs()) < len({_der(each) for each in trusted}):
            raise NotUsable(
                f"peer.tls.ca: {', '.join(self._settings.ca)}: not all certificates there are those of a CA"
            )
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


def _certificates(name: str, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        raise NotUsable(f"{name}: {error}") from error
    except ValueError as error:
        raise NotUsable(f"{name}: {path} holds no certificates in PEM form ({error})") from error


def _check_mode(name: str, path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise NotUsable(f"{name}: {error}") from error
    if mode & _OTHERS:
        raise NotUsable(f"{name}: others than its owner and group may read {path}: chmod 600 {path}")


def _no_password() -> str:
    raise ValueError("it is encrypted, and nobody could be asked for the password")


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - slow to load

    return certificate.public_bytes(Encoding.DER)


def _is_of_any(der: bytes, authorities: tuple[x509.Certificate, ...]) -> bool:
    for authority in authorities:
        try:
            x509.load_der_x509_certificate(der).verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return True
    return False


def _period(name: str, path: str, certificate: x509.Certificate) -> Period:
    try:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError as error:
        raise NotUsable(f"{name}: {path}: {error}") from error
    return Period(f"{name}: {path}", begins, ends)


def _ending(period: Period, now: datetime) -> Iterator[str]:
    what, begins, ends = period
    if now >= ends:
        yield (f"{what} ended at {ends:%Y-%m-%d %H:%M} UTC: links that stand go on, no new one is made")
    elif now >= ends - min(_WARN_BEFORE, (ends - begins) / 3):
        yield f"{what} ends at {ends:%Y-%m-%d %H:%M} UTC: no link is made from then on"
    elif now < begins:
        yield f"{what} begins at {begins:%Y-%m-%d %H:%M} UTC: until then no link is made"


def utc_now() -> datetime:
    """As certificates count it: that of the operating system, as in the handshakes."""
    return datetime.now(UTC)
