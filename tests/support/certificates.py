"""Certificates of nodes for tests, in files, from CAs made for the test."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from consensus.links.link_tls import node_uri
from local.certificates import Authority, Made, new_authority
from node.security.tls import PeerTls
from node.settings import PeerTlsSettings

HOUR = timedelta(hours=1)
_numbers = itertools.count(1)


def authority(cluster_id: str = "c1") -> Authority:
    """A CA."""
    return new_authority(cluster_id, lasts=HOUR)


def impostor(cluster_id: str, of: Authority) -> Authority:
    """The same CA, as if it made certificates for another cluster."""
    return replace(of, cluster_uri=authority(cluster_id).cluster_uri)


def in_files(
    folder: Path,
    made: Made,
    *trusted: Authority,
    mode: Literal["off", "prefer", "require"] = "require",
) -> PeerTlsSettings:
    """Settings of a node with this certificate, and with these CAs."""
    number = next(_numbers)
    cert, key = folder / f"{number}.pem", folder / f"{number}.key"
    made.write(cert, key)
    return PeerTlsSettings(
        mode=mode, cert=str(cert), key=str(key), ca=tuple(_ca_file(folder, each) for each in trusted)
    )


def _ca_file(folder: Path, of: Authority) -> str:
    """The same one each time."""
    path = folder / f"ca-{of.made.certificate.serial_number:x}.pem"
    if not path.exists():
        of.made.write(path, path.with_suffix(".key"))
    return str(path)


def peer_tls(
    folder: Path,
    node_id: str,
    by: Authority,
    *trusted: Authority,
    mode: Literal["off", "prefer", "require"] = "require",
    lasts: timedelta = HOUR,
) -> PeerTls:
    """What the links of a node take: its certificate made ``by`` one CA, and that CA, or others, trusted."""
    settings = in_files(folder, by.node(node_id, ["127.0.0.1"], lasts=lasts), *(trusted or (by,)), mode=mode)
    return PeerTls(settings, name=node_uri("c1", node_id))


def dialer_context(
    folder: Path, made: Made | None, trusted: Authority, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Of somebody who dials with any certificate, or none, and speaks TLS up to a version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = newest
    context.load_verify_locations(_ca_file(folder, trusted))
    if made is not None:
        settings = in_files(folder, made)
        context.load_cert_chain(settings.cert, settings.key)
    return context
