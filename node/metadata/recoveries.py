"""Recoveries from the loss of a majority, as the description of the cluster keeps them.

``floodmark recover`` (node/recovery) writes them, with all nodes stopped: nobody proposes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError

from node.metadata.commands import RecordRecovery
from node.metadata.levels import MEMBERSHIP
from node.metadata.members import number_nodes

if TYPE_CHECKING:
    from node.metadata.state import MetadataState, TopicEntry

NUMBERS_SKIPPED: Final = 1 << 20
"""Of topics, groups and moves: lost nodes may have given some of them, to what nobody knows of."""
PRODUCER_IDS_SKIPPED: Final = 1 << 40
"""Likewise of producers."""
OFFSETS_PER_EPOCH: Final = 1 << 40
"""A partition that begins anew does so at this times the epoch: above any offset that it can have had."""


class Recovery(msgspec.Struct, frozen=True):
    """One of them. ``at_ms``: when it was decided, in milliseconds since 1970."""

    epoch: int
    name: str
    at_ms: int
    lost: tuple[str, ...]
    """The nodes that were left out."""
    chosen: dict[int, str]
    """Group id -> whose log was chosen where a majority was lost: its last records may be missing."""
    emptied: tuple[int, ...]
    """Groups of the partitions that began anew, without any record, for no replica was left."""


def record_recovery(state: MetadataState, command: RecordRecovery) -> int | FloodmarkError:
    """The new epoch. It raises the feature level to its own, for no node of an earlier build can go on."""
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
        state.nodes.pop(node, None)
        state.draining.pop(node, None)
    # Whose heir is lost is drained still, to wherever there is a place.
    state.retiring = {
        node: heir
        for node, heir in state.retiring.items()
        if node in state.nodes and (not heir or heir in state.nodes)
    }
    lost = set(command.lost)
    for group, move in list(state.moves.items()):
        # Whoever had a part in it and is left has a replica from now on; others are moved anew.
        if group in command.replicas or lost.intersection((*move.replicas, *move.leaving)):
            del state.moves[group]
    for name, topic in list(state.topics.items()):
        state.topics[name] = _with(topic, command)
    state.next_topic_id += NUMBERS_SKIPPED
    state.next_raft_group += NUMBERS_SKIPPED
    state.next_move += NUMBERS_SKIPPED
    state.next_producer_id += PRODUCER_IDS_SKIPPED
    return command.epoch


def _with(topic: TopicEntry, command: RecordRecovery) -> TopicEntry:
    """The topic with its replicas where they are left; its factor stays what was asked for."""
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
