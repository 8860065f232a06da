"""Which replicas the metadata wants on a node, and which of those present were deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node.metadata.holders import holders, wanted
from node.metadata.state import MetadataState, PartitionEntry, TopicEntry


def wanted_here(
    state: MetadataState, node_id: str
) -> Iterator[tuple[int, tuple[TopicEntry, PartitionEntry]]]:
    """The groups that should have a replica on this node."""
    for topic in state.topics.values():
        for entry in topic.partitions:
            if node_id in holders(entry, state.moves.get(entry.raft_group)):
                yield entry.raft_group, (topic, entry)


def in_transit(state: MetadataState, node_id: str) -> set[int]:
    """The groups whose replica on this node is still arriving or is leaving: nothing depends on it."""
    return {
        raft_group
        for raft_group, move in state.moves.items()
        if (found := state.partition(raft_group)) is not None
        and node_id in holders(found[1], move)
        and not (node_id in found[1].replicas and node_id in wanted(found[1], move))
    }


def gone(stale: set[int], here: Iterable[int], state: MetadataState) -> set[int]:
    """Those of ``stale`` that were deleted.

    After a restart the metadata is at first as old as its snapshot: a group that it has not created yet was
    not deleted.
    """
    return {group for group in stale.difference(here) if 0 < group < state.next_raft_group}
