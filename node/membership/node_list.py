"""The nodes of the cluster, from the metadata and from what each of them says of itself.

Every node gives the same answer, but for changes between two requests. A node that does not answer is shown
as the metadata describes it, with the time when any of the others last heard it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from node.broker import ListedNode, NodeHealth, NodeState
from node.health import HealthQuery
from node.metadata.group import Metadata
from node.metadata.numbers import node_number
from node.metadata.state import NodeEntry

_SILENT = NodeHealth("", ready=False)


class NodeList:
    """Asks all nodes at once. ``now_ms``: by the cluster's clock."""

    def __init__(self, metadata: Metadata, health: HealthQuery, now_ms: Callable[[], int]) -> None:
        self._metadata = metadata
        self._health = health
        self._now_ms = now_ms

    async def show(self) -> list[ListedNode]:
        """All nodes, in order of id."""
        said, _ = await self._health.everybody()
        state = self._metadata.state
        placed = Counter(
            node for topic in state.topics.values() for entry in topic.partitions for node in entry.replicas
        )
        return [self._listed(entry, said, placed[node]) for node, entry in sorted(state.nodes.items())]

    def _listed(self, entry: NodeEntry, said: Mapping[str, NodeHealth], replicas: int) -> ListedNode:
        node = entry.node_id
        own = said.get(node, _SILENT)
        return ListedNode(
            node_id=node,
            http=entry.http,
            peer=entry.peer,
            alive=node in said,
            incarnation=entry.incarnation,
            leads=own.leads,
            replicas=replicas,
            number=node_number(self._metadata.membership.members, node, self._metadata.state.node_numbers),
            state=_state(own),
            reasons=own.reasons,
            draining=node in self._metadata.state.draining,
            rack=entry.rack,
            version=own.version,
            data_bytes=own.data_bytes,
            disk_free_bytes=own.disk_free_bytes,
            disk_total_bytes=own.disk_total_bytes,
            last_seen_ms=self._last_seen_ms(node, said),
        )

    def _last_seen_ms(self, node: str, said: Mapping[str, NodeHealth]) -> int | None:
        if node in said:
            return self._now_ms()
        heard = [each.heard_ms_ago[node] for each in said.values() if node in each.heard_ms_ago]
        return self._now_ms() - min(heard) if heard else None


def _state(own: NodeHealth) -> NodeState:
    if own is _SILENT:
        return NodeState.SILENT
    if own.stopping:
        return NodeState.STOPPING
    return NodeState.READY if own.ready else NodeState.NOT_READY
