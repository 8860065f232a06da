"""This node's replica of a partition, as the metadata describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.types import Membership
from node.coordinator.machine import CoordinatorMachine
from node.metadata.state import PartitionEntry, TopicEntry
from node.partition.producers import ProducerTable
from node.replicas.replica_spec import KeepRecords, KeepState, OpenReplica, ReplicaSpec

KIND: Final = "partition"
SHARD: Final = "shard"
"""Of the coordinator."""
STATE_SEGMENTS: Final = 2
"""How many segments the log of a shard has at the most, about, before what its state covers is dropped."""

CAMPAIGN_AFTER_S: Final = (0.03, 0.1, 0.25)
"""When the preferred leader of a new group asks for votes: the others may need a moment to create it."""
RETURN_AFTER_S: Final = (0.1, 0.5, 1.0, 1.5, 2.0, 2.5)
"""... and of a group that existed before: when all nodes start, they are not equally fast."""


def partition_spec(
    topic: TopicEntry,
    entry: PartitionEntry,
    *,
    node_id: str,
    incarnation: str,
    on_open: Callable[[OpenReplica], None],
    on_closed: Callable[[OpenReplica], None],
) -> ReplicaSpec:
    """``incarnation``: of this node's folder. Where there can be no leader yet, the preferred one asks for
    votes at once, without an election timeout. A partition of the coordinator is a shard: a state, whose log
    is kept only as far as the state needs it.
    """
    leads_best = entry.replicas[0] == node_id
    is_shard = topic.is_coordinator
    keep: KeepRecords | KeepState = KeepRecords(topic.config.retention_ms, topic.config.retention_bytes)
    if is_shard:
        keep = KeepState(STATE_SEGMENTS * topic.config.segment_bytes)
    return ReplicaSpec(
        kind=SHARD if is_shard else KIND,
        raft_group=entry.raft_group,
        members=Membership(frozenset(entry.replicas)),
        machine=CoordinatorMachine if is_shard else ProducerTable,
        keep=keep,
        segment_bytes=topic.config.segment_bytes,
        is_one_of_many=True,
        wiped=entry.incarnation_of(node_id) != incarnation,
        comes=node_id not in entry.replicas,
        campaign_new_s=CAMPAIGN_AFTER_S if leads_best else (),
        campaign_again_s=RETURN_AFTER_S if leads_best else (),
        on_open=on_open,
        on_closed=on_closed,
        log_fields={"topic": topic.name, "partition": entry.number},
    )
