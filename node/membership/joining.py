"""The state of joins, on both sides: an empty folder joins an existing cluster.

The newcomer asks the seeds, learns from them who is in the cluster and who leads it, and keeps dialling those
until one answers that it is registered. A member remembers who asked: the metadata's leader registers them.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.membership.announcement import Announcement


class Joining:
    """``is_newcomer``: this node had no place when it started. Once it has one, it is an ordinary member."""

    def __init__(self, *, is_newcomer: bool) -> None:
        self.is_newcomer = is_newcomer
        self.has_place = False
        """A member has answered that this node is registered."""
        self.contacts: dict[str, str] = {}
        """Nodes of the cluster heard of so far, with their peer addresses: seeds and the leader."""
        self.asking: dict[str, Announcement] = {}
        """On a member: nodes that asked to join and are not registered yet."""
        self._waits: dict[str, str] = {}

    def waits(self, said: Announcement, reason: str, *, is_ours: bool) -> bool:
        """The newcomer has no place yet, seen from either side. Returns whether that is news.

        ``is_ours``: both sides mean the same cluster.
        """
        has_none = self.is_newcomer and not self.has_place
        if has_none:
            self._waits[said.node_id] = reason
        if not is_ours:
            return False
        if not has_none:
            is_new = self.asking.get(said.node_id) != said
            self.asking[said.node_id] = said
            return is_new
        is_new = self._knows({said.node_id: said.peer})
        return self.leader_is(said.leader, said.leader_peer) or is_new

    def leader_is(self, leader: str, peer: str) -> bool:
        """A member says who leads the metadata, and where. Returns whether that is new."""
        return bool(leader and peer) and self._knows({leader: peer})

    def _knows(self, heard_of: Mapping[str, str]) -> bool:
        is_new = not heard_of.items() <= self.contacts.items()
        self.contacts.update(heard_of)
        return is_new

    def failed(self, address: str, reason: str) -> None:
        """A seed could not be asked."""
        self._waits[address] = f"{address} could not be asked: {reason}"

    def heard(self, who: str) -> None:
        """A node or an address has answered with something other than to wait."""
        self._waits.pop(who, None)

    def registered(self, nodes: Mapping[str, object]) -> None:
        """The metadata now has these nodes."""
        for node in self.asking.keys() & nodes.keys():
            del self.asking[node]

    def __str__(self) -> str:
        """What a newcomer is waiting for."""
        reasons = [reason for _, reason in sorted(self._waits.items())]
        return f"joining a cluster: {'; '.join(reasons) or 'no seed has answered yet'}"
