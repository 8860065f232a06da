"""What is under way where an empty folder comes to a cluster that is there, on both sides.

The newcomer asks seeds, hears from them whose cluster that is and who leads it, and dials those, again and
again, until one answers that it is registered. A member keeps what it was asked: if it leads the metadata, it
registers the newcomer.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.membership.announcement import Announcement


class Joining:
    """``is_newcomer``: this node had no place when it started. Once it has one it is a member as all are."""

    def __init__(self, *, is_newcomer: bool) -> None:
        self.is_newcomer = is_newcomer
        self.has_place = False
        """A member has answered that this node is registered."""
        self.contacts: dict[str, str] = {}
        """Nodes of the cluster that were heard of, and their peer ports: seeds, and who leads."""
        self.asking: dict[str, Announcement] = {}
        """Of a member: nodes that asked and are not registered yet."""
        self._waits: dict[str, str] = {}

    def waits(self, said: Announcement, reason: str, *, is_ours: bool) -> bool:
        """There is no place yet, on whichever side. Returns whether something is new.

        ``is_ours``: the cluster is the one that the other side means as well.
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
        """A node or an address has answered something else than to wait."""
        self._waits.pop(who, None)

    def registered(self, nodes: Mapping[str, object]) -> None:
        """The metadata have these nodes by now."""
        for node in self.asking.keys() & nodes.keys():
            del self.asking[node]

    def __str__(self) -> str:
        """For what a newcomer waits."""
        reasons = [reason for _, reason in sorted(self._waits.items())]
        return f"joining a cluster: {'; '.join(reasons) or 'no seed has answered yet'}"
