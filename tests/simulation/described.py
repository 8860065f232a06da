"""What the metadata say of the one partition of a simulated cluster, for whoever makes a plan by it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.state import MetadataState, Move, NodeEntry, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig
from tests.simulation.codec import RAFT_GROUP


def snapshot_of(
    nodes: Sequence[str], placed: Collection[str], wanted: Collection[str], holders: Collection[str]
) -> bytes:
    """It is placed there and moves to where it is wanted; all holders have a replica, or had one lately."""
    replicas = tuple(sorted(placed))
    entry = PartitionEntry(0, RAFT_GROUP, replicas, ("",) * len(replicas))
    leaving = tuple(sorted(set(holders) - set(placed) - set(wanted)))
    machine = MetadataMachine()
    machine.state = MetadataState(
        applied_index=20,
        next_topic_id=2,
        next_raft_group=RAFT_GROUP + 1,
        nodes={name: NodeEntry(name, "", "", "", levels=(1, MEMBERSHIP)) for name in nodes},
        topics={"t": TopicEntry("t", 1, len(replicas), TopicConfig(segment_bytes=4096), (entry,))},
        level=MEMBERSHIP,
    )
    if leaving or set(wanted) != set(placed):
        machine.state.moves = {RAFT_GROUP: Move(1, tuple(sorted(wanted)), started=True, leaving=leaving)}
    return machine.snapshot()
