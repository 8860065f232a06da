"""Who belongs to the cluster, as this node knows it.

Below feature level 3 those that it was formed of. From there on those that the metadata name, whatever
settings say; the folder keeps them for the time after a start until the metadata are known again.
"""

from __future__ import annotations

from consensus.types import Membership
from node.membership.identity import NodeIdentity, Standing
from node.metadata.first_members import initial_membership
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import MetadataState


class Roster:
    """``formed_of``: the nodes that this folder's cluster was formed of, or would be.

    A node that came later has those there that it had met by then.
    """

    def __init__(self, identity: NodeIdentity, formed_of: tuple[str, ...]) -> None:
        self.formed_of = formed_of
        self.removed: dict[str, str] = {}
        """Nodes that were removed, and the incarnation that each had."""
        self.addresses: dict[str, str] = dict(identity.addresses) if identity.level >= MEMBERSHIP else {}
        """Of the peer port of every node, this one included; empty below feature level 3."""
        self.incarnations: dict[str, str] = {}
        """Under which every node is registered, as far as the metadata are known here."""
        self.members = tuple(sorted(self.addresses)) or formed_of
        self.lost: frozenset[str] = frozenset()
        """Nodes that a recovery left out: with empty folders they are taken in again."""

    def told(self, state: MetadataState) -> None:
        """What the metadata say by now."""
        self.incarnations = {node: entry.incarnation for node, entry in state.nodes.items()}
        if state.level >= MEMBERSHIP and state.nodes:
            self.addresses = {node: entry.peer for node, entry in sorted(state.nodes.items())}
            self.removed = state.removed
            self.members = tuple(self.addresses)
            lost = {node for recovery in state.recoveries for node in recovery.lost}
            self.lost = frozenset(lost - state.nodes.keys() - state.removed.keys())

    @property
    def expected(self) -> frozenset[str]:
        """Whose empty folders are let in without more ado."""
        return self.lost.union(self.members)

    def joined_with(self, nodes: tuple[str, ...]) -> None:
        """This node comes to a cluster, of which it has met these nodes, itself included."""
        self.formed_of = self.members = nodes

    def first_membership(self, identity: NodeIdentity) -> Membership:
        """Of the metadata group, before its log says anything; the same on all nodes that formed it.

        A node that came later was no voter then. One that came back without its data may have been one, for
        all that it knows: it must not take itself for one that has no vote to give up.
        """
        if not identity.joined:
            return initial_membership(list(self.formed_of) or [identity.node_id])
        me = frozenset([identity.node_id])
        if identity.standing is Standing.WIPED:
            return Membership(frozenset(self.formed_of) | me)
        return Membership(frozenset(self.formed_of) - me, me)
