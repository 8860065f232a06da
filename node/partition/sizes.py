"""The sizes of partitions, as told by the nodes that lead them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from node.node_query import NodeQuery
from node.replicas.replica_here import ReplicaHere


class Sizes:
    """Asks all nodes at once."""

    def __init__(
        self,
        *,
        node_id: str,
        local: Mapping[int, ReplicaHere],
        query: NodeQuery,
        alive: Callable[[], Collection[str]],
    ) -> None:
        self._node_id = node_id
        self._local = local
        self._query = query
        self._alive = alive

    def led_here(self) -> dict[int, int]:
        """Bytes on the disk, by group id."""
        return {
            group: replica.data_bytes
            for group, replica in self._local.items()
            if replica.group.is_ready_leader
        }

    async def everywhere(self) -> dict[int, int]:
        """Bytes by group id, of all partitions whose leaders answer."""
        others = sorted(set(self._alive()) - {self._node_id})
        found = self.led_here()
        for sizes in await asyncio.gather(*(self._query.sizes(node) for node in others)):
            found.update(sizes)
        return found
