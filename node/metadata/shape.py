"""What an operator wants the cluster to look like: nodes without replicas, other factors, even nodes.

These say what is to be; which replicas move for it is planned from that (node/planning/) for as long as it
is not so yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound, UnknownTopic

from node.metadata.commands import (
    CancelMoves,
    ChangeReplicationFactor,
    DrainNode,
    Rebalance,
    UndrainNode,
)
from node.metadata.levels import MEMBERSHIP
from node.metadata.members import heir_refusal
from node.metadata.moves import cancel_moves, partitions_of

if TYPE_CHECKING:
    from node.metadata.state import MetadataState, TopicEntry

DRAIN: Final = "drain"
REPAIR: Final = "replication factor"
REBALANCE: Final = "rebalance"
"""Reasons of moves that were planned and not asked for one by one."""


def drain_node(state: MetadataState, command: DrainNode) -> int | FloodmarkError:
    """How many nodes are drained now."""
    if refused := _below_level(state):
        return refused
    if command.node_id not in state.nodes:
        return NotFound(f"the cluster knows no node {command.node_id}", node=command.node_id)
    if refused := heir_refusal(state, command.node_id):
        return refused
    state.draining.setdefault(command.node_id, state.applied_index + 1)
    return len(state.draining)


def undrain_node(state: MetadataState, command: UndrainNode) -> int | FloodmarkError:
    """How many nodes are drained still."""
    if state.draining.pop(command.node_id, None) is None:
        return NotFound(f"node {command.node_id} is not drained", node=command.node_id)
    state.retiring.pop(command.node_id, None)
    node = command.node_id
    going = {
        entry.raft_group: move.number
        for _, entry in partitions_of(state)
        if (move := state.moves.get(entry.raft_group)) is not None
        and move.reason == DRAIN
        and node in entry.replicas
        and node not in move.replicas
        and state.draining.keys().isdisjoint(entry.replicas)
    }
    cancel_moves(state, CancelMoves(going, "undrained"))
    return len(state.draining)


def change_replication_factor(
    state: MetadataState, command: ChangeReplicationFactor
) -> TopicEntry | FloodmarkError:
    """The topic."""
    if refused := _below_level(state):
        return refused
    topic = state.topics.get(command.name)
    if topic is None or topic.topic_id != command.topic_id:
        return UnknownTopic(f"there is no topic {command.name} (any more)", topic=command.name)
    if not 1 <= command.replication_factor <= len(state.nodes):
        return InvalidRequest(
            f"replication_factor {command.replication_factor} is not possible: the cluster has "
            f"{len(state.nodes)} nodes",
            nodes=len(state.nodes),
        )
    changed = msgspec.structs.replace(topic, replication_factor=command.replication_factor)
    state.topics[topic.name] = changed
    return changed


def rebalance(state: MetadataState, command: Rebalance) -> int | FloodmarkError:
    """The number of the one that goes on; 0 when none does."""
    if refused := _below_level(state):
        return refused
    if command.begin:
        state.rebalancing = state.rebalancing or state.applied_index + 1
    elif command.number == 0:
        state.rebalancing = 0
        going = {group: move.number for group, move in state.moves.items() if move.reason == REBALANCE}
        cancel_moves(state, CancelMoves(going, "rebalance cancelled"))
    elif command.number == state.rebalancing:
        state.rebalancing = 0
    return state.rebalancing


def _below_level(state: MetadataState) -> FloodmarkError | None:
    if state.level >= MEMBERSHIP:
        return None
    return Conflict(f"this needs feature level {MEMBERSHIP}", level=state.level)  # It could not be written.
