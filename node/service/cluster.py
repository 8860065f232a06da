"""The cluster as a whole: its description, its health, and its feature level."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from node.broker import ClusterHealth, ClusterInfo, Features, Health, ListedNode, NodeHealth, NodeState
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

STOPPING: Final = "this node is stopping"


class NodeList(msgspec.Struct, frozen=True):
    """The nodes, in order of id."""

    nodes: list[ListedNode]


class DescribeCluster(Request[ClusterInfo], frozen=True, kw_only=True):
    """The whole cluster, as seen by the node that is asked."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> ClusterInfo:  # noqa: ARG002
        """Raises ``Unavailable`` where this node's view is known to be outdated."""
        at.broker.check_current()
        return at.broker.cluster.show()


class ListNodes(Request[NodeList], frozen=True, kw_only=True):
    """The nodes, each as it describes itself."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> NodeList:  # noqa: ARG002
        """Raises ``Unavailable`` where this node's view is known to be outdated."""
        at.broker.check_current()
        nodes = await at.broker.cluster.list_nodes()
        if at.draining.is_set():
            nodes = [_stopping(node) if node.node_id == at.broker.node_id else node for node in nodes]
        return NodeList(nodes)


class DescribeHealth(Request[ClusterHealth], frozen=True, kw_only=True):
    """The cluster's health, as all nodes together see it."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> ClusterHealth:  # noqa: ARG002
        """Asks all nodes."""
        return await at.broker.cluster.health()


class DescribeOwnHealth(Request[NodeHealth], frozen=True, kw_only=True):
    """The own health of the node that is asked."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> NodeHealth:  # noqa: ARG002
        """Asks nobody."""
        return own_health(at)


class DescribeFeatures(Request[Features], frozen=True, kw_only=True):
    """The feature level that the cluster has agreed on, and which ones each node knows.

    The leader has each node's levels from the node itself; others may have them from a build that lost them.
    """

    operation: ClassVar[Operation] = Operation.DESCRIBE
    at_metadata_leader: ClassVar[bool] = True

    async def execute(self, at: Service, context: RequestContext) -> Features:
        """See ``Broker.cluster.features``."""
        return await at.broker.cluster.features(timeout_s=context.left_s())


class RaiseLevel(Request[Features], frozen=True, kw_only=True):
    """Raise the feature level, for good."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    level: int

    async def execute(self, at: Service, context: RequestContext) -> Features:
        """See ``Broker.cluster.raise_level``."""
        return await at.broker.cluster.raise_level(self.level, timeout_s=context.left_s())


def readiness(at: Service) -> Health:
    """Whether this node can serve, and why not. Everybody may know, so no policy is asked."""
    health = at.broker.health()
    if at.draining.is_set():
        return replace(health, ready=False, reasons=[*health.reasons, STOPPING])
    return health


def own_health(at: Service) -> NodeHealth:
    """This node's own health."""
    health = at.broker.cluster.node_health()
    if at.draining.is_set():
        return replace(health, ready=False, stopping=True, reasons=[*health.reasons, STOPPING])
    return health


def _stopping(node: ListedNode) -> ListedNode:
    return replace(node, state=NodeState.STOPPING, reasons=[*node.reasons, STOPPING])
