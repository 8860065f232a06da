"""A node that is struck off, and who gets its replicas instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from floodmark.errors import Conflict, FloodmarkError, NotFound

from node.metadata.commands import ForgetNode
from node.metadata.levels import MEMBERSHIP

if TYPE_CHECKING:
    from node.metadata.state import MetadataState, NodeEntry, PartitionEntry, TopicEntry


def forget(state: MetadataState, command: ForgetNode) -> NodeEntry | FloodmarkError:
    """What it was."""
    gone = state.nodes.get(command.node_id)
    if gone is None:
        return NotFound(f"the cluster knows no node {command.node_id}", node=command.node_id)
    if state.level >= MEMBERSHIP:
        return Conflict(f"{command.node_id} is one of the cluster's nodes", node=command.node_id)
    if any(gone.node_id in (*move.replicas, *move.leaving) for move in state.moves.values()):
        return Conflict(
            f"replicas are on their way to {command.node_id}: cancel that first", node=gone.node_id
        )
    topics = {name: _without(state, topic, command) for name, topic in state.topics.items()}
    if not all(entry.replicas for topic in topics.values() for entry in topic.partitions):
        return Conflict(f"{command.node_id} has the only replica of a partition", node=command.node_id)
    state.topics.update(topics)
    del state.nodes[command.node_id]
    return gone


def _without(state: MetadataState, topic: TopicEntry, command: ForgetNode) -> TopicEntry:
    """The topic without the node; what a replacement holds before it has fetched all counts as lost."""
    gone = command.node_id

    def changed(entry: PartitionEntry) -> PartitionEntry:
        if gone not in entry.replicas:
            return entry
        kept = {node: entry.incarnation_of(node) for node in entry.replicas if node != gone}
        other = command.replacements.get(entry.raft_group, "")
        if other in state.nodes and other != gone:
            kept.setdefault(other, "")
        return msgspec.structs.replace(entry, replicas=tuple(kept), incarnations=tuple(kept.values()))

    partitions = tuple(changed(entry) for entry in topic.partitions)
    if partitions == topic.partitions:
        return topic
    factor = max(len(entry.replicas) for entry in partitions)
    return msgspec.structs.replace(topic, partitions=partitions, replication_factor=factor)
