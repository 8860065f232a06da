"""Which nodes are alive, as far as this one can tell, and for how long others have been silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable

from consensus.host.group_host import GroupHost


class Liveness:
    """Alive: this node, and those that are connected and were heard recently."""

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
        """Milliseconds since each of the nodes in ``met`` was last heard."""
        now = asyncio.get_running_loop().time()
        return {
            node: int((now - peer.heard_at) * 1000) for node, peer in self._links.peers.items() if node in met
        }


class Silence:
    """Checked now and then: a node's silence counts from the first check at which it was silent."""

    def __init__(
        self, alive: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._alive = alive
        self._clock = clock
        self._since: dict[str, float] = {}

    def longer_than(self, seconds: float, nodes: Iterable[str]) -> set[str]:
        """Those of ``nodes`` that have been silent for longer than this; other nodes are forgotten."""
        now, alive = self._clock(), self._alive()
        silent = [node for node in nodes if node not in alive]
        self._since = {node: self._since.get(node, now) for node in silent}
        return {node for node, since in self._since.items() if now - since >= seconds}
