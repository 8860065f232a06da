"""Which nodes belong to the cluster, as far as this node knows.

Below feature level 3 those that it was formed of. From there on those that the metadata names, whatever
settings say; the folder keeps them for the time between a start and knowing the metadata again.
"""

from __future__ import annotations

from consensus.types import Membership
from node.membership.identity import NodeIdentity, Standing
from node.metadata.first_members import initial_membership
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import MetadataState


class Roster:
    """``formed_of``: the nodes that this folder's cluster was formed of, or would be.

    For a node that joined later: those that it had met by then.
    """

    def __init__(self, identity: NodeIdentity, formed_of: tuple[str, ...]) -> None:
        self.formed_of = formed_of
        self.removed: dict[str, str] = {}
        """Removed nodes -> the incarnation that each had."""
        self.addresses: dict[str, str] = dict(identity.addresses) if identity.level >= MEMBERSHIP else {}
        """Every node's peer address, this one's included; empty below feature level 3."""
        self.incarnations: dict[str, str] = {}
        """The incarnation that each node is registered with, as far as this node knows the metadata."""
        self.members = tuple(sorted(self.addresses)) or formed_of
        self.lost: frozenset[str] = frozenset()
        """Nodes that a recovery left out: with empty folders they may join again."""

    def told(self, state: MetadataState) -> None:
        """Take over what the metadata says."""
        self.incarnations = {node: entry.incarnation for node, entry in state.nodes.items()}
        if state.level >= MEMBERSHIP and state.nodes:
            self.addresses = {node: entry.peer for node, entry in sorted(state.nodes.items())}
            self.removed = state.removed
            self.members = tuple(self.addresses)
            lost = {node for recovery in state.recoveries for node in recovery.lost}
            self.lost = frozenset(lost - state.nodes.keys() - state.removed.keys())

    @property
    def expected(self) -> frozenset[str]:
        """The nodes whose empty folders are accepted at once."""
        return self.lost.union(self.members)

    def joined_with(self, nodes: tuple[str, ...]) -> None:
        """This node joins a cluster of which it has met these nodes, itself included."""
        self.formed_of = self.members = nodes

    def first_membership(self, identity: NodeIdentity) -> Membership:
        """The metadata group's members before its log names any; the same on all nodes that formed it.

        A node that joined later was not a voter then. One that came back without its data may have been a
        voter: it must not assume that it has no vote to lose.
        """
        if not identity.joined:
            return initial_membership(list(self.formed_of) or [identity.node_id])
        me = frozenset([identity.node_id])
        if identity.standing is Standing.WIPED:
            return Membership(frozenset(self.formed_of) | me)
        return Membership(frozenset(self.formed_of) - me, me)
