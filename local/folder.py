"""The data folder of a local cluster, and the settings of its nodes.

Only its owner has access: the folder has mode 700.

DATA/lock       held while the cluster runs
DATA/control    socket on which the process that runs the cluster takes requests (control.py)
DATA/secret     the secret that nodes of this cluster share; made once, mode 600
DATA/n1.toml    settings of node n1, rewritten at every start, because ports may change
DATA/n1.log     log of node n1
DATA/n1/        its data

Of a secure cluster also:
DATA/certs/     its CA, and a certificate for each node
DATA/admin-token  an administrator's token, mode 600
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from local.access import ANYBODY, Access
from local.errors import FolderInUse, OtherSize
from local.ports import LOOPBACK, pick_ports
from local.private import make_private, private

_CLUSTER = "dev"
_HOSTS = (LOOPBACK, "localhost", "::1")
_CA_LASTS = timedelta(days=3650)
_CERTIFICATE_LASTS = timedelta(days=365)
_LOG_BYTES_MAX = 16 << 20
"""A larger log is moved aside (one generation) when its node starts."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node of a local cluster."""

    name: str
    http_port: int
    peer_port: int
    config: Path
    log: Path
    certs: Path | None = None
    """Folder with the certificates of a secure cluster."""

    @property
    def ca(self) -> Path | None:
        """The CA of a secure cluster."""
        return None if self.certs is None else self.certs / "ca.pem"

    @property
    def scheme(self) -> str:
        """http, or https of a secure cluster."""
        return "http" if self.certs is None else "https"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.scheme}://{LOOPBACK}:{self.http_port}"


@dataclass(frozen=True, slots=True)
class Route:
    """How one node is reached and reaches others, and how it can be disturbed."""

    advertise: str = ""
    """The base URL that it advertises; by default its own."""
    dial: Mapping[str, str] = field(default_factory=dict)
    """node -> host:port to dial instead of that node's peer port."""
    scrub_interval_s: float | None = None
    """Seconds between scrubs of its disk; by default the setting's own default."""
    faults: str = ""
    """Folder through which faults of its disk and clock are injected; by default none can be."""


Routes = Callable[[Sequence[LocalNode]], Mapping[str, Route]]
"""Called once the ports are chosen: node -> its route."""


def direct(nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
    """Direct connections between all nodes."""
    return {node.name: Route() for node in nodes}


class LocalFolder:
    """An open data folder: no other local cluster can use it until ``close``."""

    def __init__(self, path: Path) -> None:
        make_private(path)
        self.path = path.absolute()
        self._lock = self._take_lock()

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    def node_count(self, wanted: int | None) -> int:
        """How many nodes to start: a folder with data keeps its number."""
        known = len(list(self.path.glob("n*.toml")))
        if known and wanted is not None and wanted != known:
            raise OtherSize(
                f"{self.path} holds a cluster of {known} nodes, not {wanted}",
                hint=f"use -n {known}, or another folder with --data",
            )
        return known or wanted or 3

    @property
    def access(self) -> Access:
        """How its nodes are asked by an administrator."""
        if self._certs is None:
            return ANYBODY
        return Access(self._certs / "ca.pem", self.path / "admin-token")

    @property
    def _certs(self) -> Path | None:
        folder = self.path / "certs"
        return folder if (folder / "ca.pem").exists() else None

    def make_secure(self) -> None:
        """Make a CA, if there is none: what is written from then on is of a secure cluster, for good.

        It makes the certificates of nodes, again at every start.
        """
        from local.certificates import new_authority  # noqa: PLC0415 - the library is slow to load

        folder = self.path / "certs"
        make_private(folder)
        if self._certs is None:
            new_authority(_CLUSTER, lasts=_CA_LASTS).made.write(
                folder / "ca.pem", folder / "ca.key", over=True
            )

    def _certify(self, node: LocalNode) -> None:
        from local.certificates import open_authority  # noqa: PLC0415 - see above

        assert node.certs is not None
        made = open_authority(node.certs).node(node.name, _HOSTS, lasts=_CERTIFICATE_LASTS)
        made.write(node.certs / f"{node.name}.pem", node.certs / f"{node.name}.key", over=True)

    def write_settings(
        self, count: int, *, http_port: int, peer_port: int, routes: Routes = direct
    ) -> list[LocalNode]:
        """Choose ports and write the settings of every node, which form a cluster."""
        nodes = self.choose(count, http_port=http_port, peer_port=peer_port)
        found = routes(nodes)
        for node in nodes:
            self.write_founder(node, nodes, found[node.name])
        return nodes

    def choose(self, count: int, *, http_port: int, peer_port: int) -> list[LocalNode]:
        """Nodes n1, n2, ... and their ports; no settings are written yet."""
        http_ports = pick_ports(count, first=http_port)
        peer_ports = pick_ports(count, first=peer_port, besides=http_ports)
        names = [f"n{number}" for number in range(1, count + 1)]
        return [
            LocalNode(name, http, peer, self.path / f"{name}.toml", self.path / f"{name}.log", self._certs)
            for name, http, peer in zip(names, http_ports, peer_ports, strict=True)
        ]

    def further(self, name: str, others: Sequence[LocalNode], *, http_port: int, peer_port: int) -> LocalNode:
        """One more node, with ports that the ``others`` do not use; no settings are written yet."""
        taken = [port for other in others for port in (other.http_port, other.peer_port)]
        (http,) = pick_ports(1, first=http_port, besides=taken)
        (peer,) = pick_ports(1, first=peer_port, besides=[*taken, http])
        config, log = self.path / f"{name}.toml", self.path / f"{name}.log"
        return LocalNode(name, http, peer, config, log, self._certs)

    def write_founder(self, node: LocalNode, nodes: Sequence[LocalNode], route: Route) -> None:
        """Write the settings of one of the nodes that form the cluster."""
        self._make_secret()
        self._write(node, self._settings_text(node, nodes, route))
        _roll_log(node.log)

    def write_newcomer(self, node: LocalNode, seeds: Sequence[LocalNode], route: Route | None = None) -> None:
        """Write the settings of a node that joins existing ones."""
        self._write(node, self._settings_text(node, [], route or Route(), seeds=seeds))

    def _write(self, node: LocalNode, text: str) -> None:
        if node.certs is not None:
            self._certify(node)
        with open(node.config, "w", encoding="utf-8", opener=private) as out:
            out.write(text)

    def _settings_text(
        self, node: LocalNode, nodes: Sequence[LocalNode], route: Route, *, seeds: Sequence[LocalNode] = ()
    ) -> str:
        peers = "".join(f'{each.name} = "{LOOPBACK}:{each.peer_port}"\n' for each in nodes)
        advertise = f"advertise = {_quoted(route.advertise)}\n" if route.advertise else ""
        dialed = [route.dial.get(seed.name, f"{LOOPBACK}:{seed.peer_port}") for seed in seeds]
        addresses = ", ".join(map(_quoted, dialed))
        join = f"join = [{addresses}]\n" if seeds else ""
        dial = "".join(f"{name} = {_quoted(address)}\n" for name, address in route.dial.items())
        scrub = route.scrub_interval_s
        authentication = "" if node.certs is None else 'authentication = "required"\n'
        storage = "" if scrub is None else f"\n[storage]\nscrub_interval_s = {scrub}\n"
        testing = f"\n[testing]\nfaults = {_quoted(route.faults)}\n" if route.faults else ""
        secure = _secure_tables(node) if node.certs is not None else ""
        return (
            "# Rewritten at every start of the cluster.\n"
            f"[node]\nid = {_quoted(node.name)}\ndata_dir = {_quoted(str(self.path / node.name))}\n\n"
            f'[http]\nlisten = "{LOOPBACK}:{node.http_port}"\n{advertise}{authentication}\n'
            f'[peer]\nlisten = "{LOOPBACK}:{node.peer_port}"\n\n'
            f'[cluster]\nid = "{_CLUSTER}"\nsecret_file = {_quoted(str(self.path / "secret"))}\n{join}\n'
            f"[cluster.peers]\n{peers}\n[cluster.dial]\n{dial}{storage}{testing}{secure}"
        )

    def _make_secret(self) -> None:
        try:
            descriptor = os.open(self.path / "secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(32))

    def _take_lock(self) -> IO[str]:
        lock = (self.path / "lock").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise FolderInUse(
                f"another local cluster runs on {self.path}",
                hint="stop it, or use another folder with --data",
            ) from None
        return lock


def _secure_tables(node: LocalNode) -> str:
    assert node.certs is not None
    ca = _quoted(str(node.certs / "ca.pem"))
    cert, key = (_quoted(str(node.certs / f"{node.name}.{kind}")) for kind in ("pem", "key"))
    own = f"cert = {cert}\nkey = {key}\n"
    return (
        f'\n[http.tls]\n{own}client_auth = "optional"\nclient_ca = [{ca}]\n'
        f'\n[peer.tls]\nmode = "require"\n{own}ca = [{ca}]\n'
    )


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)


def _roll_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
