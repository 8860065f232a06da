"""Recoveries from the loss of a majority, as the metadata keeps them.

``floodmark recover`` (node/recovery) writes them, with all nodes stopped: they are never proposed.
"""

from __future__ import annotations

from typing import Final

import msgspec
from floodmark.errors import Conflict

from node.metadata.command import Command, command_type
from node.metadata.domains.nodes import number_nodes, without
from node.metadata.edit import Edit
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import Applied, Recovery, TopicEntry

NUMBERS_SKIPPED: Final = 1 << 20
"""Numbers of topics, groups and moves that the lost nodes may have used for things now unknown."""
PRODUCER_IDS_SKIPPED: Final = 1 << 40
"""Likewise ids of producers."""
OFFSETS_PER_EPOCH: Final = 1 << 40
"""A partition that starts over begins at this times the epoch: above any offset that it can have had."""


class RecordRecovery(Command, frozen=True, tag="record_recovery"):
    """The cluster was recovered from the loss of a majority: written by ``floodmark recover`` alone, into the
    log of a stopped node, where it also raises the feature level to its own.
    """

    epoch: int
    """The cluster's epoch from here on."""
    name: str
    """Drawn at random: two recoveries to the same epoch are told apart by it."""
    at_ms: int
    """When it was decided, in milliseconds since 1970."""
    lost: list[str]
    """The nodes that are no longer part of the cluster."""
    replicas: dict[int, list[str]]
    """Group id -> who has a replica now, of all partitions that had one on a node that is lost."""
    chosen: dict[int, str]
    """Group id -> whose log was chosen, of the groups that had lost their majority."""
    emptied: list[int]
    """Groups of the partitions that have no replica left: they start over empty."""


def record_recovery(edit: Edit, command: RecordRecovery) -> Applied:
    """Returns the new epoch. Raises the feature level to its own: no node of an earlier build can go on."""
    state = edit.state
    if command.epoch != state.cluster_epoch + 1:
        return Conflict(
            f"a recovery to cluster epoch {command.epoch}, and this is epoch {state.cluster_epoch}"
        )
    if state.level < MEMBERSHIP:
        state.level = MEMBERSHIP
        number_nodes(state)
    state.recoveries = (
        *state.recoveries,
        Recovery(
            command.epoch,
            command.name,
            command.at_ms,
            tuple(command.lost),
            command.chosen,
            tuple(command.emptied),
        ),
    )
    for node in command.lost:
        edit.remove_node(node)
        state.draining = without(state.draining, node)
    # A node whose heir is lost is still drained, to wherever there is a place.
    state.retiring = {
        node: heir
        for node, heir in state.retiring.items()
        if node in state.nodes and (not heir or heir in state.nodes)
    }
    lost = set(command.lost)
    for group, move in list(state.moves.items()):
        # The nodes of the move that are left have a replica from now on; others are planned again.
        if group in command.replicas or lost.intersection((*move.replicas, *move.leaving)):
            edit.remove_move(group)
    for topic in list(state.topics.values()):
        if any(entry.raft_group in command.replicas for entry in topic.partitions):
            edit.put_topic(_with(topic, command))
    state.next_topic_id += NUMBERS_SKIPPED
    state.next_raft_group += NUMBERS_SKIPPED
    state.next_move += NUMBERS_SKIPPED
    state.next_producer_id += PRODUCER_IDS_SKIPPED
    return command.epoch


def _with(topic: TopicEntry, command: RecordRecovery) -> TopicEntry:
    """The topic with the replicas that are left; its replication factor stays as it was set."""
    partitions = tuple(
        msgspec.structs.replace(
            entry,
            replicas=tuple(command.replicas[entry.raft_group]),
            incarnations=tuple(map(entry.incarnation_of, command.replicas[entry.raft_group])),
        )
        if entry.raft_group in command.replicas
        else entry
        for entry in topic.partitions
    )
    return msgspec.structs.replace(topic, partitions=partitions)


COMMANDS: Final = dict([command_type(RecordRecovery, record_recovery, level=MEMBERSHIP)])
