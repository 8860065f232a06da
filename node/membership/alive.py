"""Which nodes are there, as far as this one can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from consensus.host.group_host import GroupHost


class Alive:
    """This node, and those that can be sent to and were heard lately."""

    def __init__(self, node_id: str, host: GroupHost) -> None:
        self._node_id = node_id
        self._links = host.links

    def __call__(self) -> frozenset[str]:
        """Their ids."""
        there = [
            node
            for node, peer in self._links.peers.items()
            if not peer.silent and self._links.connected(node)
        ]
        return frozenset([self._node_id, *there])

    def heard_ms_ago(self, met: Collection[str]) -> dict[str, int]:
        """How long ago each of the nodes that were ``met`` was heard last."""
        now = asyncio.get_running_loop().time()
        return {
            node: int((now - peer.heard_at) * 1000) for node, peer in self._links.peers.items() if node in met
        }
