"""Rules for what other machines reach: TLS, and who has to say who they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from node.addresses import is_loopback, split_address
from node.settings import HttpSettings, PeerTlsSettings, Settings

_OTHERWISE_USERS: Final = (
    "Otherwise listen on 127.0.0.1, behind a proxy that does both; or, in a network where everybody may read "
    "and change everything, say http.insecure = true"
)
_OTHERWISE_PEERS: Final = (
    "([peer.tls] with mode, cert, key and ca; `floodmark cert` makes the files). Otherwise listen on "
    "127.0.0.1; or, in a network where nobody listens to others, say http.insecure = true"
)


def problems(settings: Settings) -> Iterator[str]:
    """What is wrong with the settings of TLS, and what must not be reached by other machines so."""
    yield from _peer_tls(settings.peer.tls)
    yield from _http_tls(settings.http)
    if not settings.http.insecure:
        yield from (f"{name} = {address!r} {why}" for name, address, why in _exposed(settings))


def exposed_listeners(settings: Settings) -> list[str]:
    """The addresses that other machines reach although that is not safe: ``http.insecure`` allows it."""
    return [f"{name} = {address}" for name, address, _ in _exposed(settings)]


def _peer_tls(tls: PeerTlsSettings) -> Iterator[str]:
    given = {"cert": tls.cert, "key": tls.key, "ca": tls.ca}
    missing = [f"peer.tls.{name}" for name, value in given.items() if not value]
    if tls.mode != "off" and missing:
        yield (
            f'peer.tls.mode = "{tls.mode}" needs {" and ".join(missing)} as well: `floodmark cert init` and '
            "`floodmark cert node` make the files"
        )


def _http_tls(http: HttpSettings) -> Iterator[str]:
    tls = http.tls
    if bool(tls.cert) != bool(tls.key):
        there, missing = ("cert", "key") if tls.cert else ("key", "cert")
        yield f"http.tls.{there} needs http.tls.{missing} as well: `floodmark cert node` makes both files"
    if not tls.is_on and (tls.client_ca or tls.client_auth != "off"):
        yield (
            "http.tls.client_auth and client_ca need http.tls.cert and http.tls.key: without them there is "
            "no TLS"
        )
    elif tls.client_auth != "off" and not tls.client_ca:
        yield (
            f'http.tls.client_auth = "{tls.client_auth}" needs http.tls.client_ca: the files with the CAs of '
            "clients, as ca.pem of `floodmark cert init`"
        )
    if tls.is_on and http.advertise.lower().startswith("http://"):
        yield (
            f"http.advertise = {http.advertise!r}: with http.tls this node is reached by https only: write "
            f'advertise = "https://{http.advertise[7:]}"'
        )


def _exposed(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(setting, address, why) of ports where others would listen, or do what they like."""
    http, peer = settings.http, settings.peer
    needs = [] if http.tls.is_on else ["TLS ([http.tls] with cert and key)"]
    if http.authentication != "required":
        needs.append('http.authentication = "required"')
    if needs and _is_exposed(http.listen):
        yield (
            "http.listen",
            http.listen,
            f"is reached by other machines, which needs {' and '.join(needs)}. {_OTHERWISE_USERS}",
        )
    if peer.tls.mode == "off" and _is_exposed(peer.listen):
        yield (
            "peer.listen",
            peer.listen,
            f"is reached by other machines, and links need TLS for that {_OTHERWISE_PEERS}",
        )


def _is_exposed(address: str) -> bool:
    try:
        return not is_loopback(split_address(address)[0])
    except ValueError:
        return False
