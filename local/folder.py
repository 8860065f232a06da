"""The data folder of a local cluster, and the settings of its nodes.

Only its owner has access: the folder has mode 700.

DATA/lock       held while the cluster runs
DATA/control    socket on which the process that runs the cluster takes requests (control.py)
DATA/secret     the secret that nodes of this cluster share; made once, mode 600
DATA/n1.toml    settings of node n1, rewritten at every start, because ports may change
DATA/n1.log     log of node n1
DATA/n1/        its data
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from local.errors import FolderInUse, OtherSize
from local.ports import LOOPBACK, pick_ports
from local.private import make_private, private

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

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{LOOPBACK}:{self.http_port}"


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
            LocalNode(name, http, peer, self.path / f"{name}.toml", self.path / f"{name}.log")
            for name, http, peer in zip(names, http_ports, peer_ports, strict=True)
        ]

    def further(self, name: str, others: Sequence[LocalNode], *, http_port: int, peer_port: int) -> LocalNode:
        """One more node, with ports that the ``others`` do not use; no settings are written yet."""
        taken = [port for other in others for port in (other.http_port, other.peer_port)]
        (http,) = pick_ports(1, first=http_port, besides=taken)
        (peer,) = pick_ports(1, first=peer_port, besides=[*taken, http])
        return LocalNode(name, http, peer, self.path / f"{name}.toml", self.path / f"{name}.log")

    def write_founder(self, node: LocalNode, nodes: Sequence[LocalNode], route: Route) -> None:
        """Write the settings of one of the nodes that form the cluster."""
        self._make_secret()
        self._write(node, self._settings_text(node, nodes, route))
        _roll_log(node.log)

    def write_newcomer(self, node: LocalNode, seeds: Sequence[LocalNode], route: Route | None = None) -> None:
        """Write the settings of a node that joins existing ones."""
        self._write(node, self._settings_text(node, [], route or Route(), seeds=seeds))

    def _write(self, node: LocalNode, text: str) -> None:
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
        storage = "" if scrub is None else f"\n[storage]\nscrub_interval_s = {scrub}\n"
        testing = f"\n[testing]\nfaults = {_quoted(route.faults)}\n" if route.faults else ""
        return (
            "# Rewritten at every start of the cluster.\n"
            f"[node]\nid = {_quoted(node.name)}\ndata_dir = {_quoted(str(self.path / node.name))}\n\n"
            f'[http]\nlisten = "{LOOPBACK}:{node.http_port}"\n{advertise}\n'
            f'[peer]\nlisten = "{LOOPBACK}:{node.peer_port}"\n\n'
            f'[cluster]\nid = "dev"\nsecret_file = {_quoted(str(self.path / "secret"))}\n{join}\n'
            f"[cluster.peers]\n{peers}\n[cluster.dial]\n{dial}{storage}{testing}"
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


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)


def _roll_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
