"""Certificates, keys and CAs in PEM files, and what is wrong with them."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

_WARN_BEFORE: Final = timedelta(days=30)
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class NotUsable(Exception):
    """These files cannot be used; the text says which setting is wrong, and why."""


class OwnFiles(Protocol):
    """Settings that name a certificate and its key."""

    @property
    def cert(self) -> str:
        """Its file."""

    @property
    def key(self) -> str:
        """Likewise."""


class Period(NamedTuple):
    """From when to when a certificate counts."""

    what: str
    """The setting and the file."""
    begins: datetime
    ends: datetime


class Authorities(NamedTuple):
    """The CAs of some files."""

    trusted: tuple[x509.Certificate, ...]
    periods: tuple[Period, ...]
    files: tuple[str, ...]


class Own(NamedTuple):
    """A node's own certificate, as its file begins with it, and the CAs of those that it takes."""

    certificate: x509.Certificate
    authorities: Authorities
    periods: tuple[Period, ...]
    """Of its own certificate, and of those of the CAs."""


def own(prefix: str, settings: OwnFiles, ca: str, paths: Sequence[str]) -> Own:
    """What the files of one door hold. ``prefix``: of its settings. ``ca``: the one that names the CAs.

    Raises ``NotUsable``.
    """
    check_mode(f"{prefix}.key", settings.key)
    (first, *_) = certificates(f"{prefix}.cert", settings.cert)
    found = authorities(f"{prefix}.{ca}", paths)
    return Own(first, found, (period(f"{prefix}.cert", settings.cert, first), *found.periods))


def authorities(setting: str, paths: Sequence[str]) -> Authorities:
    """All CAs in these files. Raises ``NotUsable``."""
    trusted: list[x509.Certificate] = []
    periods: list[Period] = []
    for path in paths:
        found = certificates(setting, path)
        trusted += found
        periods += [period(setting, path, each) for each in found]
    return Authorities(tuple(trusted), tuple(periods), tuple(paths))


def use_own(context: ssl.SSLContext, setting: str, cert: str, key: str) -> None:
    """Have a context show a certificate. ``setting``: of the key. Raises ``NotUsable``."""
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:  # SSLError is an OSError.
        why = "it is not the key of the certificate" if "MISMATCH" in str(error) else str(error)
        raise NotUsable(f"{setting}: {key}: {why}") from error


def trust(context: ssl.SSLContext, setting: str, found: Authorities) -> None:
    """Have a context take certificates of these CAs, and of no others. Raises ``NotUsable``."""
    pem = "".join(ssl.DER_cert_to_PEM_cert(_der(each)) for each in found.trusted)
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError as error:
        raise NotUsable(f"{setting}: {error}") from error
    if len(context.get_ca_certs()) < len({_der(each) for each in found.trusted}):
        raise NotUsable(f"{setting}: {', '.join(found.files)}: not all certificates there are those of a CA")


def still_trusts(now: ssl.SSLContext, made_by: ssl.SSLObject, trusted: Sequence[x509.Certificate]) -> bool:
    """Whether no CA has gone since, or the other side's certificate is of one that is there.

    One that an authority in between has made is not looked into any further: it has to be shown again.
    """
    before = made_by.context
    if before is now or _authorities_of(before) <= _authorities_of(now):
        return True
    shown = made_by.getpeercert(binary_form=True)
    return shown is not None and _is_of_any(shown, trusted)


def _authorities_of(context: ssl.SSLContext) -> set[bytes]:
    return set(context.get_ca_certs(binary_form=True))


def certificates(name: str, path: str) -> list[x509.Certificate]:
    """All in a file, at least one. ``name``: of the setting. Raises ``NotUsable``."""
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        raise NotUsable(f"{name}: {error}") from error
    except ValueError as error:
        raise NotUsable(f"{name}: {path} holds no certificates in PEM form ({error})") from error


def check_mode(name: str, path: str) -> None:
    """Raise ``NotUsable`` for a key that strangers can read."""
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


def _is_of_any(der: bytes, trusted: Sequence[x509.Certificate]) -> bool:
    for authority in trusted:
        try:
            x509.load_der_x509_certificate(der).verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return True
    return False


def period(setting: str, path: str, certificate: x509.Certificate) -> Period:
    """When it counts. Raises ``NotUsable`` where that cannot be told."""
    try:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError as error:
        raise NotUsable(f"{setting}: {path}: {error}") from error
    return Period(f"{setting}: {path}", begins, ends)


def hosts(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that clients take it for; none where they cannot be read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [
            *names.get_values_for_type(x509.DNSName),
            *(str(each) for each in names.get_values_for_type(x509.IPAddress)),
        ]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []


def covers(names: Sequence[str], host: str) -> bool:
    """Whether clients that ask for ``host`` take a certificate that has these names."""
    try:
        return str(ipaddress.ip_address(host.strip("[]"))) in names
    except ValueError:
        wanted = host.lower().rstrip(".")
    of_all = f"*.{wanted.partition('.')[2]}"
    return any(name.lower() in (wanted, of_all) for name in names)


def ending(period: Period, now: datetime, *, what: str) -> Iterator[str]:
    """What an operator should know of the end of a certificate, with which each ``what`` is made."""
    name, begins, ends = period
    if now >= ends:
        yield f"{name} ended at {ends:%Y-%m-%d %H:%M} UTC: {what}s that stand go on, no new one is made"
    elif now >= ends - min(_WARN_BEFORE, (ends - begins) / 3):
        yield f"{name} ends at {ends:%Y-%m-%d %H:%M} UTC: no {what} is made from then on"
    elif now < begins:
        yield f"{name} begins at {begins:%Y-%m-%d %H:%M} UTC: until then no {what} is made"


def utc_now() -> datetime:
    """As certificates count it: that of the operating system, as in the handshakes."""
    return datetime.now(UTC)
