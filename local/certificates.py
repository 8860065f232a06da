"""A small certificate authority: a CA in a folder, and certificates for the nodes and users of one cluster.

The CA's certificate names the cluster, as all that it makes do: ``spiffe://<cluster id>``, and below that
``/node/<id>`` and ``/user/<name>``. Keys are of the curve P-256, in files of mode 600.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.private import private

CA_CERT: Final = "ca.pem"
CA_KEY: Final = "ca.key"
_EARLIER: Final = timedelta(minutes=5)
"""Clocks differ: what is made now counts already where it is a little earlier."""

Key = ec.EllipticCurvePrivateKey


class CertificateProblem(Exception):
    """A file cannot be used, or is not what it has to be; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def uri(self) -> str:
        """Whom it names."""
        return uri_of(self.certificate)

    @property
    def pem(self) -> tuple[bytes, bytes]:
        """The certificate, and its key."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate.public_bytes(Encoding.PEM), key

    def write(self, certificate: Path, key: Path, *, over: bool = False) -> None:
        """Put both into files, the key first. Raises ``FileExistsError`` unless it goes ``over`` them."""
        text, pem = self.pem
        texts = {key: pem, certificate: text}
        if not over and (there := [path for path in texts if path.exists()]):
            raise FileExistsError(f"{', '.join(map(str, there))} exists already")
        for path, text in texts.items():
            # Whoever reads them meanwhile gets a whole file, the old one or the new one.
            new = path.with_name(f".{path.name}.new")
            with open(new, "wb", opener=private if path == key else None) as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            new.replace(path)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can make certificates."""

    made: Made
    cluster_uri: str

    def node(self, name: str, hosts: Sequence[str], *, lasts: timedelta, key: Key | None = None) -> Made:
        """For a node, at either end of a connection. ``hosts``: names and addresses that it is reached by."""
        names = [x509.UniformResourceIdentifier(f"{self.cluster_uri}/node/{_quoted(name)}")]
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._sign(name, [*names, *map(_host, hosts)], usage, lasts=lasts, key=key)

    def user(self, name: str, *, lasts: timedelta, key: Key | None = None) -> Made:
        """For a user, who connects to nodes."""
        names = [x509.UniformResourceIdentifier(f"{self.cluster_uri}/user/{_quoted(name)}")]
        return self._sign(name, names, [ExtendedKeyUsageOID.CLIENT_AUTH], lasts=lasts, key=key)

    def renewed(self, old: x509.Certificate, *, lasts: timedelta, key: Key | None = None) -> Made:
        """For the same one, with the same names, by this CA. Raises ``CertificateProblem``."""
        uri = uri_of(old)
        if uri == self.cluster_uri:
            raise CertificateProblem("a CA is not renewed: make a second one, and replace it")
        if not uri.startswith(f"{self.cluster_uri}/"):
            raise CertificateProblem(f"it is for {uri}, and this CA is that of {self.cluster_uri}")
        names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return self._sign(_common_name(old), list(names), list(usage), lasts=lasts, key=key)

    def has_made(self, certificate: x509.Certificate) -> bool:
        """Whether it is of this CA."""
        try:
            certificate.verify_directly_issued_by(self.made.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _sign(
        self,
        name: str,
        names: Sequence[x509.GeneralName],
        usage: Sequence[x509.ObjectIdentifier],
        *,
        lasts: timedelta,
        key: Key | None,
    ) -> Made:
        key = key or _new_key()
        issuer = self.made.certificate
        begins, ends = _period(lasts)
        of_issuer = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(name, issuer.subject, key, begins, min(ends, issuer.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer), critical=False
            )
            .sign(self.made.key, hashes.SHA256())
        )
        return Made(certificate, key)


def new_authority(cluster_id: str, *, lasts: timedelta) -> Authority:
    """A CA for one cluster."""
    key = _new_key()
    uri = f"spiffe://{_quoted(cluster_id)}"
    begins, ends = _period(lasts)
    # Two CAs of a cluster have to differ by name: one takes the other's place.
    name = f"{cluster_id[:40]} CA {begins:%Y-%m-%d} {x509.random_serial_number() & 0xFFFF:04x}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(name, subject, key, begins, ends)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(Made(certificate, key), uri)


def open_authority(folder: Path) -> Authority:
    """The CA in a folder. Raises ``CertificateProblem``."""
    certificate, key = read_certificate(folder / CA_CERT), read_key(folder / CA_KEY)
    if key.public_key() != certificate.public_key():
        raise CertificateProblem(f"{folder / CA_KEY} is not the key of {folder / CA_CERT}")
    return Authority(Made(certificate, key), uri_of(certificate))


def read_certificate(path: Path) -> x509.Certificate:
    """The first one in a file. Raises ``CertificateProblem``."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CertificateProblem(str(error)) from error
    except ValueError as error:
        raise CertificateProblem(f"{path} holds no certificate in PEM form") from error


def read_key(path: Path) -> Key:
    """Raises ``CertificateProblem``."""
    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CertificateProblem(str(error)) from error
    except (ValueError, TypeError) as error:
        raise CertificateProblem(f"{path} holds no private key in PEM form, or an encrypted one") from error
    if not isinstance(found, Key):
        raise CertificateProblem(f"{path} is not a key of an elliptic curve, as those made here are")
    return found


def uri_of(certificate: x509.Certificate) -> str:
    """Whom a certificate names; "" for one that was not made here."""
    found = _names(certificate)
    uris = found.get_values_for_type(x509.UniformResourceIdentifier) if found is not None else []
    return uris[0] if len(uris) == 1 else ""


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Names and addresses of machines."""
    found = _names(certificate)
    if found is None:
        return []
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _builder(
    name: str, issuer: x509.Name, key: Key, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _period(lasts: timedelta) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - _EARLIER, now + lasts


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError as error:
        raise CertificateProblem(f"{text!r} is neither a host's name (in ASCII) nor an address") from error


def _common_name(certificate: x509.Certificate) -> str:
    (found, *_) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _quoted(text: str) -> str:
    return quote(text, safe="")
