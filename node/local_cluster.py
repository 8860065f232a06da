"""The cluster as this node sees and changes it; the metadata's leader; ids of producers."""

from __future__ import annotations

from node.broker import ClusterHealth, ClusterInfo, Features, ListedNode, NodeHealth
from node.control.features import FeatureLevel
from node.health import HealthQuery
from node.membership.liveness import Liveness
from node.membership.node_list import NodeList
from node.metadata.group import Metadata
from node.partition.producer_ids import ProducerIds
from node.views import Views


class LocalCluster:
    """Implements ``node.broker.ClusterView``."""

    def __init__(
        self, *, metadata: Metadata, views: Views, health: HealthQuery, node_list: NodeList, alive: Liveness
    ) -> None:
        self._views = views
        self._health = health
        self._node_list = node_list
        self._level = FeatureLevel(metadata)
        self._alive = alive

    def show(self) -> ClusterInfo:
        """The whole picture."""
        return self._views.cluster(self._alive())

    async def list_nodes(self) -> list[ListedNode]:
        """In order of id."""
        return await self._node_list.show()

    def node_health(self) -> NodeHealth:
        """This node alone."""
        return self._health.here()

    async def health(self) -> ClusterHealth:
        """All nodes, asked now."""
        return await self._health.cluster()

    async def features(self, *, timeout_s: float) -> Features:
        """The feature level, and the levels that each node knows."""
        return await self._level.show(timeout_s=timeout_s)

    async def raise_level(self, level: int, *, timeout_s: float) -> Features:
        """Raise the feature level."""
        return await self._level.finalize(level, timeout_s=timeout_s)


class LocalLeadership:
    """Implements ``node.broker.MetadataLeadership``."""

    def __init__(self, node_id: str, metadata: Metadata, alive: Liveness) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._alive = alive

    @property
    def leads_here(self) -> bool:
        """Whether changes can be made here."""
        return self._metadata.leads_here

    async def wait_leader(self, *, timeout_s: float) -> str:
        """The metadata group's leader."""
        return await self._metadata.wait_leader(timeout_s=timeout_s)

    def doubt_leader(self, node: str) -> None:
        """Wake the group if it sleeps."""
        self._metadata.doubt_leader(node)

    async def leave_to_others(self, node_id: str, *, timeout_s: float) -> None:
        """Called before this node is removed."""
        if node_id == self._node_id:
            await self._metadata.leave_to_others(self._alive, timeout_s=timeout_s)


class LocalProducers:
    """Implements ``node.broker.ProducerNumbers``."""

    def __init__(self, metadata: Metadata) -> None:
        self._ids = ProducerIds(metadata)

    async def new(self, *, timeout_s: float) -> tuple[int, int]:
        """From this node's block."""
        return await self._ids.next(timeout_s=timeout_s), 0

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """The next epoch, or a new id when the epochs are used up."""
        return await self._ids.following(producer_id, epoch, timeout_s=timeout_s)
