"""TLS towards nodes: whose certificates are trusted, the client's own one, and what failed about them."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Sequence
from typing import Final

from floodmark.errors import InvalidRequest

Tls = bool | str | os.PathLike[str] | ssl.SSLContext | None
"""What ``Client(tls=...)`` takes."""
Cert = str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None
"""What ``Client(cert=...)`` takes."""

_HTTPS: Final = "https"
MAYBE_OURS: Final = (
    "if it asks for a client's certificate, it takes none or not this one (cert=, or --cert on the command "
    "line): its log says why"
)
"""Nodes close the connection then, and say nothing to the client."""
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_ABOUT_OURS: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "ACCESS_DENIED")
_OURS_NOT_TAKEN: Final = (
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "UNKNOWN_CA",
    "UNSUPPORTED_CERTIFICATE",
    "DECRYPT_ERROR",
)


class TlsOptions:
    """How one client uses TLS. Raises ``InvalidRequest`` where it cannot be used so.

    Without ``tls`` and ``cert`` a URL decides by its scheme; with one of them only https is spoken.
    """

    def __init__(self, tls: Tls = None, cert: Cert = None) -> None:
        self._cert = cert
        self._context: ssl.SSLContext | None = None
        self.is_required = tls not in (None, False) or cert is not None
        """Whether nothing may be sent but through TLS."""
        if isinstance(tls, ssl.SSLContext):
            if cert is not None:
                raise InvalidRequest("cert= does not go with an SSLContext: use its load_cert_chain")
            self._context = tls
        elif tls is not None and not isinstance(tls, bool):
            self._context = _made(cert, ca_file=tls)
        elif self.is_required:
            self._context = _made(cert)

    @property
    def context(self) -> ssl.SSLContext:
        """For https connections; made when the first one is."""
        if self._context is None:
            self._context = _of_this_machine()
        return self._context

    def check_urls(self, urls: Sequence[str]) -> list[str]:
        """The URLs; those without a scheme get the one that fits. Refuses such that would not use TLS."""
        scheme = _HTTPS if self.is_required else "http"
        found = [url if "://" in url else f"{scheme}://{url}" for url in urls]
        for url in found:
            if self.is_required and url.partition("://")[0].lower() != _HTTPS:
                raise InvalidRequest(
                    f"{url!r} does not use TLS, which tls= or cert= asks for: write https://"
                )
        return found


@functools.lru_cache(1)
def _of_this_machine() -> ssl.SSLContext:
    """Trusts what this machine trusts. Making one reads hundreds of certificates, so one serves all."""
    return ssl.create_default_context()


def _made(cert: Cert, ca_file: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # SSLError is an OSError.
        raise InvalidRequest(f"tls={os.fspath(ca_file or '')!r} cannot be used: {_words(error)}") from error
    if cert is not None:
        _show(context, cert)
    return context


def _show(context: ssl.SSLContext, cert: Cert) -> None:
    certificate, key = cert if isinstance(cert, tuple) else (cert, None)
    assert certificate is not None

    def no_password() -> str:
        raise ValueError("its key is encrypted; give an SSLContext that has the password")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:
        why = "the key is not that of the certificate" if "MISMATCH" in str(error) else _words(error)
        hint = "" if key is not None else "; cert=(certificate, key) names two files"
        raise InvalidRequest(f"cert={os.fspath(certificate)!r} cannot be used: {why}{hint}") from error


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it holds nothing of the kind in PEM form ({error.reason or error})"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)


def failure_of(error: BaseException) -> str | None:
    """What failed about TLS, and what to do, where ``error`` or a cause of it is of that kind.

    No node has looked at a request then: the two sides could not agree on who they are.
    """
    found: BaseException | None = error
    for _ in range(4):
        found = getattr(found, "certificate_error", None) or found
        if isinstance(found, ssl.SSLCertVerificationError):
            return _not_trusted(found)
        if isinstance(found, ssl.SSLError) and (text := _other(found)) is not None:
            return text
        if found is None:
            return None
        found = getattr(found, "os_error", None) or found.__cause__ or found.__context__
    return None


def _not_trusted(error: ssl.SSLCertVerificationError) -> str:
    why = error.verify_message or str(error)
    if "mismatch" in why.lower() or "doesn't match" in why:
        return f"its certificate is for others: {why}; use a name or an address that the certificate has"
    if "expired" in why or "not yet valid" in why:
        return f"its certificate is not valid: {why}"
    return (
        f"its certificate is not trusted: {why}; name the file with the cluster's CA "
        "(tls=, or --ca-file on the command line)"
    )


def _other(error: ssl.SSLError) -> str | None:
    reason = getattr(error, "reason", None) or str(error)  # aiohttp's own are made without one.
    if any(text in reason for text in _NOT_TLS):
        return "it does not speak TLS: use http://, if that is what it is to be"
    if any(text in reason for text in _ABOUT_OURS):
        return "it asks for a client's certificate: give one (cert=, or --cert on the command line)"
    if "ALERT" in reason and any(text in reason for text in _OURS_NOT_TAKEN):
        return f"it does not take this client's certificate ({reason})"
    return None
