"""``floodmark cluster init``: matching settings for the nodes that form a cluster.

The command itself does not form the cluster: nodes with empty folders and the same ``cluster.peers`` do, when
all of them are up. Written by hand, these or the secrets may differ by mistake.
"""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from cli.exits import CONFLICT, USAGE, Failure
from cli.output import View, field, output_option, show
from cli.session import debug_option, talk
from local.private import private

HTTP_PORT: Final = 7070
PEER_PORT: Final = 7170
_NODE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]{1,64})=(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<http>[0-9]{1,5}))?(?::(?P<peer>[0-9]{1,5}))?",
    re.ASCII,
)
_WRITTEN: Final = View(
    columns=(field("Node", "node_id"), field("File"), field("HTTP", "http"), field("Peer")),
    name=lambda node: str(node["node_id"]),
    items=lambda document: document["nodes"],
)


_CA_LASTS: Final = timedelta(days=3650)
_CERTIFICATE_LASTS: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    http: str
    peer: str

    @property
    def host(self) -> str:
        """Without brackets."""
        return self.http.rpartition(":")[0].strip("[]")


@dataclass(frozen=True, slots=True)
class _Common:
    """What is the same for all nodes."""

    cluster_id: str
    data_dir: str
    secret_file: str
    tls_dir: str
    is_secure: bool
    allows: bool
    """Whether the nodes have to be told that it is meant so."""


@click.command("init")
@click.argument("nodes", metavar="NODE=HOST[:HTTP_PORT[:PEER_PORT]]...", nargs=-1, required=True)
@click.option(
    "--to", "folder", type=click.Path(file_okay=False), required=True, help="Folder to write the files to."
)
@click.option("--id", "cluster_id", default="floodmark", show_default=True, help="cluster.id")
@click.option(
    "--data-dir", default="/var/lib/floodmark", show_default=True, help="node.data_dir of each node."
)
@click.option(
    "--secret-file",
    default="/etc/floodmark/secret",
    show_default=True,
    help="cluster.secret_file: path of the secret on each machine.",
)
@click.option(
    "--tls-dir",
    default="/etc/floodmark",
    show_default=True,
    help="Folder of the certificates, keys and the CA on each machine.",
)
@click.option(
    "--secure/--insecure",
    default=None,
    help="With TLS and authentication, or without.  [default: with them where other machines reach a node]",
)
@output_option(default=None)
@debug_option
def init(
    nodes: tuple[str, ...],
    folder: str,
    cluster_id: str,
    data_dir: str,
    secret_file: str,
    tls_dir: str,
    *,
    secure: bool | None,
    output: str | None,
) -> None:
    """Write the settings of the nodes of a new cluster, its secret, and certificates.

    Writes one file per node, NODE.toml, and `secret`, a random one. Put a node's file and the secret on its
    machine, and start all nodes: they form the cluster as soon as all of them are up. Do not list nodes that
    come later: they join with `floodmark start --join`. Existing files are never overwritten.

    With TLS there are also a CA, `ca.pem` and `ca.key`, and a certificate for each node, NODE.pem and
    NODE.key. `ca.pem` goes to all machines and clients. `ca.key`, which makes further ones with
    `floodmark cert`, belongs on none of the nodes.
    """
    parsed = [_parsed(text) for text in nodes]
    _check(parsed)
    is_exposed = any(not _is_loopback(node.host) for node in parsed)
    if secure is None:
        secure = is_exposed
    chosen = _Common(cluster_id, data_dir, secret_file, tls_dir, secure, allows=is_exposed and not secure)
    path = Path(folder)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {path / f"{node.name}.toml": _settings(node, parsed, chosen) for node in parsed}
    files[path / "secret"] = secrets.token_hex(32) + "\n"
    files |= {path / name: text for name, text in _certificates(parsed, cluster_id)} if secure else {}
    if there := sorted(file.name for file in files if file.exists()):
        raise Failure(
            f"{folder} already has {', '.join(there)}; nothing was written",
            exit_code=CONFLICT,
            hint="choose another folder; all nodes of a cluster share one secret",
        )
    for file, text in files.items():
        with open(file, "x", encoding="utf-8", opener=private) as out:
            out.write(text)
    talk(f"wrote the settings of {len(parsed)} nodes and their secret to {folder}")
    if secure:
        talk(f"put `ca.pem`, NODE.pem and NODE.key into {tls_dir} on each machine, and `ca.key` on none")
    talk(f"put `secret` at {secret_file} on each machine, and start each node with its own file")
    if secure:
        talk("the metadata's leader then puts an administrator's token into `admin-token` in its data folder")
    written = [
        {"node_id": node.name, "file": str(path / f"{node.name}.toml"), "http": node.http, "peer": node.peer}
        for node in parsed
    ]
    show({"nodes": written}, _WRITTEN, output)


def _parsed(text: str) -> _Node:
    found = _NODE.fullmatch(text)
    if found is not None and found["name"] not in ("secret", "ca"):
        http, peer = int(found["http"] or HTTP_PORT), int(found["peer"] or PEER_PORT)
        if 0 < http < 65_536 and 0 < peer < 65_536:
            return _Node(found["name"], f"{found['host']}:{http}", f"{found['host']}:{peer}")
    raise Failure(
        f"{text!r} does not name a node and its host", exit_code=USAGE, hint="for example n1=10.0.0.1"
    )


def _check(nodes: list[_Node]) -> None:
    """Refuse a name or an address that is given twice."""
    names = Counter(node.name for node in nodes)
    places = Counter(place for node in nodes for place in (node.http, node.peer))
    for text, count in (*names.items(), *places.items()):
        if count > 1:
            raise Failure(
                f"{text} is given twice",
                exit_code=USAGE,
                hint="every node needs a name and addresses of its own",
            )


def _settings(node: _Node, nodes: list[_Node], common: _Common) -> str:
    peers = "".join(f"{json.dumps(each.name)} = {json.dumps(each.peer)}\n" for each in nodes)
    http = peer = ""
    if common.is_secure:
        own, ca = f"{common.tls_dir.rstrip('/')}/{node.name}", f"{common.tls_dir.rstrip('/')}/ca.pem"
        files = f"cert = {json.dumps(own + '.pem')}\nkey = {json.dumps(own + '.key')}\n"
        http = (
            f'authentication = "required"\n\n[http.tls]\n{files}client_auth = "optional"\n'
            f"client_ca = [{json.dumps(ca)}]\n"
        )
        peer = f'\n[peer.tls]\nmode = "require"\n{files}ca = [{json.dumps(ca)}]\n'
    elif common.allows:
        http = "insecure = true    # whoever reaches these ports may read and change everything\n"
    return (
        f"[node]\nid = {json.dumps(node.name)}\ndata_dir = {json.dumps(common.data_dir)}\n\n"
        f"[http]\nlisten = {json.dumps(node.http)}\n{http}\n"
        f"[peer]\nlisten = {json.dumps(node.peer)}\n{peer}\n"
        f"[cluster]\nid = {json.dumps(common.cluster_id)}\nsecret_file = {json.dumps(common.secret_file)}\n\n"
        f"[cluster.peers]\n{peers}"
    )


def _certificates(nodes: list[_Node], cluster_id: str) -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    from local.certificates import new_authority  # noqa: PLC0415 - the library is slow to load

    authority = new_authority(cluster_id, lasts=_CA_LASTS)
    made = {"ca": authority.made} | {
        node.name: authority.node(node.name, [node.host], lasts=_CERTIFICATE_LASTS) for node in nodes
    }
    for name, each in made.items():
        certificate, key = each.pem
        yield f"{name}.pem", certificate.decode()
        yield f"{name}.key", key.decode()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
