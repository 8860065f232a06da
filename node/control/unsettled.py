"""The partitions led here that are not as they should be: on an idle node none, however many it leads.

To look at all of them every second cost more than all else that an idle node with a thousand replicas does.
So only those are looked at of which something has changed that can unsettle them; all of them when that can
be any. Nobody looks at the others again: who changes something has to say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from consensus.core.group import Group
from consensus.types import Role
from node.metadata.group import Metadata
from node.metadata.holders import wanted
from node.metadata.state import PartitionEntry
from node.replicas.replica_here import ReplicaHere


class Unsettled:
    """``changed`` is to be called when the metadata changed, a group is led here since now, or a member of
    one has lost its data.
    """

    def __init__(self, *, node_id: str, metadata: Metadata, local: Mapping[int, ReplicaHere]) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._local = local
        self._due: dict[int, None] = {}
        """Groups to be looked at next time: those that were found, and those that have changed since."""
        self._all_are_due = True

    def changed(self, raft_groups: Iterable[int] | None = None) -> None:
        """Look at these next time; None: at all of them."""
        if raft_groups is None:
            self._all_are_due = True
        else:
            self._due.update(dict.fromkeys(raft_groups))

    def led_here(self) -> Iterator[tuple[PartitionEntry, Group]]:
        """All partitions that this node leads."""
        return filter(None, map(self._led, list(self._local)))

    def look(self) -> list[tuple[PartitionEntry, Group]]:
        """Those whose members are to change, or which are better led elsewhere."""
        due = list(self._local) if self._all_are_due else self._due
        self._all_are_due = False
        found = [led for led in map(self._led, due) if led is not None and not self._is_settled(*led)]
        # A leader that is not ready yet is judged once it is.
        self._due = dict.fromkeys(filter(self._begins_to_lead, due))
        self._due.update(dict.fromkeys(entry.raft_group for entry, _ in found))
        return found

    def _begins_to_lead(self, raft_group: int) -> bool:
        replica = self._local.get(raft_group)
        return replica is not None and not replica.group.is_ready_leader and replica.group.role is Role.LEADER

    def _led(self, raft_group: int) -> tuple[PartitionEntry, Group] | None:
        replica = self._local.get(raft_group)
        if replica is None or not replica.group.is_ready_leader:
            return None
        known = self._metadata.state.partition(raft_group)
        return None if known is None else (known[1], replica.group)

    def best_leader(self, entry: PartitionEntry) -> str:
        """The first of the replicas that are to be there whose node is not drained."""
        state = self._metadata.state
        best = wanted(entry, state.moves.get(entry.raft_group))
        return next((node for node in best if node not in state.draining), best[0])

    def _is_settled(self, entry: PartitionEntry, group: Group) -> bool:
        members = group.membership
        target = wanted(entry, self._metadata.state.moves.get(entry.raft_group))
        return (
            not members.learners
            and members.voters == frozenset(target)
            and self.best_leader(entry) == self._node_id
            and not any(group.followers.has_lost(node) for node in target)
        )
