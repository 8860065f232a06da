"""Draining, replacing, removing and rebalancing nodes: begin, end, and progress."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from floodmark.errors import InvalidName, InvalidRequest

from node import outcomes
from node.broker import DrainInfo, RebalanceInfo, RemovalInfo
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

_NODE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HAND_OVER_S: Final = 2.0
"""How long a node that leads the metadata and is to be removed waits for another leader."""


class DrainNode(Request[DrainInfo], frozen=True, kw_only=True):
    """Move a node's replicas elsewhere; or undo that, and turn moves under way back."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    node: str
    undo: bool = False

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_node_id(self.node)

    async def execute(self, at: Service, context: RequestContext) -> DrainInfo:
        """See ``Broker.nodes.drain``."""
        change = at.broker.nodes.undrain if self.undo else at.broker.nodes.drain
        return await change(self.node, timeout_s=context.left_s())


class DescribeDrain(Request[DrainInfo], frozen=True, kw_only=True):
    """A drain's progress."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    node: str

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_node_id(self.node)

    async def execute(self, at: Service, context: RequestContext) -> DrainInfo:
        """See ``Broker.nodes.drain_of``."""
        return await at.broker.nodes.drain_of(self.node, timeout_s=context.left_s())


class DescribeRemoval(Request[RemovalInfo], frozen=True, kw_only=True):
    """What would happen to a node's partitions without it."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    node: str

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_node_id(self.node)

    async def execute(self, at: Service, context: RequestContext) -> RemovalInfo:
        """See ``Broker.nodes.removal``."""
        return await at.broker.nodes.removal(self.node, timeout_s=context.left_s())


class ForgetNode(Request[None], frozen=True, kw_only=True):
    """Remove a node that has no replicas, for good."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    node: str

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_node_id(self.node)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.nodes.forget``."""
        await _leave_metadata(at, self.node, context)
        await at.broker.nodes.forget(self.node, timeout_s=context.left_s())


class RemoveNode(Request[DrainInfo], frozen=True, kw_only=True):
    """Drain a node, then remove it, even if partitions have fewer replicas than they should."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    node: str

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_node_id(self.node)

    async def execute(self, at: Service, context: RequestContext) -> DrainInfo:
        """See ``Broker.nodes.retire``."""
        await _leave_metadata(at, self.node, context)
        return await at.broker.nodes.retire(self.node, heir="", timeout_s=context.left_s())


class ReplaceNode(Request[DrainInfo], frozen=True, kw_only=True):
    """Give all replicas of this node to another one, then remove this one."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    node: str
    by: str

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_node_id(self.node)
        if not self.by:
            raise InvalidRequest("the body's node_id is empty: name the node that takes its place")

    async def execute(self, at: Service, context: RequestContext) -> DrainInfo:
        """See ``Broker.nodes.retire``."""
        return await at.broker.nodes.retire(self.node, heir=self.by, timeout_s=context.left_s())


class Rebalance(Request[RebalanceInfo], frozen=True, kw_only=True):
    """Begin a rebalance of replicas and leaders; or end it, and undo its moves."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    begin: bool

    async def execute(self, at: Service, context: RequestContext) -> RebalanceInfo:
        """See ``Broker.nodes.rebalance``."""
        return await at.broker.nodes.rebalance(begin=self.begin, timeout_s=context.left_s())


class PlanRebalance(Request[RebalanceInfo], frozen=True, kw_only=True):
    """The moves of a rebalance, or those that it would make."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> RebalanceInfo:
        """See ``Broker.nodes.rebalance_plan``."""
        return await at.broker.nodes.rebalance_plan(timeout_s=context.left_s())


def check_node_id(node: str) -> None:
    """Raises ``InvalidName``."""
    if _NODE_ID.fullmatch(node) is None:
        raise InvalidName(f"invalid node id {node[:80]!r}: use 1 to 64 of A-Z a-z 0-9 . _ -")


async def _leave_metadata(at: Service, node: str, context: RequestContext) -> None:
    """If this is that node and it leads the metadata, have another one lead. Raises ``Unavailable``."""
    broker = at.broker
    if node != broker.node_id:
        return
    await broker.metadata.leave_to_others(node, timeout_s=min(context.left_s(), _HAND_OVER_S))
    if not broker.metadata.leads_here:
        raise outcomes.not_leader(None)
