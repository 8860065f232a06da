"""The proxies of a cluster: one on every directed link between nodes, one in front of every HTTP port.

A node's messages to a peer travel on the connection that it dialled itself, so a fault on the proxy
``n1-to-n2`` concerns what n1 says to n2 and nothing else. Requests, those that other nodes pass on included,
reach a node through its proxy ``http-n1``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.toxiproxy.control import Control
from local.folder import LocalNode, Route
from local.ports import LOOPBACK


def peer_link(source: str, target: str) -> str:
    """The name of the proxy on the link from ``source`` to ``target``."""
    return f"{source}-to-{target}"


def http_link(node: str) -> str:
    """The name of the proxy in front of a node's HTTP port."""
    return f"http-{node}"


class Links:
    """Makes the proxies once ports are known, and remembers where they listen."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.urls: dict[str, str] = {}
        """node -> the base URL by which clients and the other nodes reach it."""

    def routes(self, nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
        """For ``LocalCluster``: make all proxies, and route all connections through them."""
        self.urls = {
            node.name: f"{node.scheme}://{self.control.create(http_link(node.name), _at(node.http_port))}"
            for node in nodes
        }
        return {node.name: Route(self.urls[node.name], self._dial(node, nodes)) for node in nodes}

    def _dial(self, source: LocalNode, nodes: Sequence[LocalNode]) -> dict[str, str]:
        return {
            node.name: self.control.create(peer_link(source.name, node.name), _at(node.peer_port))
            for node in nodes
            if node is not source
        }


def _at(port: int) -> str:
    return f"{LOOPBACK}:{port}"
