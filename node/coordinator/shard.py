"""One shard that has a replica on this node: led here from time to time."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.host.group_host import GroupHost
from node import outcomes
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.lead import Around, Lead
from node.coordinator.machine import CoordinatorMachine
from node.replicas.replica_here import ReplicaHere
from node.replicas.replica_spec import OpenReplica


@dataclass(frozen=True, slots=True)
class ShardReplica(ReplicaHere):
    """This node's copy of one shard of the coordinator."""

    machine: CoordinatorMachine


class Shard:
    """Follows the replica's leadership: a ``Lead`` for each term in which this node leads and is ready."""

    def __init__(self, opened: OpenReplica, host: GroupHost, around: Around) -> None:
        machine = opened.machine
        assert isinstance(machine, CoordinatorMachine), "the machine of a shard's spec"
        self.replica = ShardReplica(opened.group, opened.log, opened.vote, machine)
        self.machine = machine
        self._host = host
        self._around = around
        self._lead: Lead | None = None

    def look(self) -> None:
        """The leadership or the term may have changed, or this leader has become ready."""
        group = self.replica.group
        lead = self._lead
        if lead is not None and not (group.is_ready_leader and group.term == lead.term):
            self.close()
        if self._lead is None and group.is_ready_leader:
            self._lead = Lead(
                host=self._host,
                raft_group=group.raft_group,
                term=group.term,
                machine=self.machine,
                around=self._around,
            )

    def close(self) -> None:
        """End what is led here, because it is not any more, or the replica is about to stop."""
        lead, self._lead = self._lead, None
        if lead is not None:
            lead.end(outcomes.not_leader(self.replica.group.leader))

    @property
    def members(self) -> int:
        """How many members its groups have, where this node leads it."""
        return 0 if self._lead is None else self._lead.clock.members

    @property
    def queues(self) -> QueueLeads | None:
        """Its queues, where this node leads it."""
        return None if self._lead is None else self._lead.queues

    @property
    def lead(self) -> Lead:
        """Raises ``Unavailable`` where this node does not lead it, or is not ready yet."""
        group = self.replica.group
        if self._lead is None or not group.is_ready_leader:
            raise outcomes.not_leader(group.leader if group.leader != group.node_id else None)
        return self._lead
