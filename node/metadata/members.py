"""Which nodes the cluster has, from feature level 3 on: those that are described here, and nobody else.

A node that is removed leaves its id behind, which never returns: old folders, clients and metrics know the
other node by it. Its number stays taken as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.errors import Conflict, FloodmarkError, NotFound

from node.metadata.commands import JoinNode, RemoveNode
from node.metadata.levels import MEMBERSHIP
from node.metadata.moves import Move, partitions_of

if TYPE_CHECKING:
    from node.metadata.state import MetadataState, NodeEntry, PartitionEntry

HOLDING_NAMED_MAX = 10
"""Partitions that a refusal names."""


def join_refusal(state: MetadataState, command: JoinNode) -> FloodmarkError | None:
    """Why the cluster does not get this node; None where it may come."""
    if state.level < MEMBERSHIP:  # It could not be written down.
        return Conflict(f"nodes are added from feature level {MEMBERSHIP} on", level=state.level)
    name = command.node_id
    if name in state.removed:
        return Conflict(f"{name} was removed from this cluster, and its id never returns", node=name)
    if name in state.nodes:
        return Conflict(f"the cluster has a node {name} already", node=name)
    if not command.levels[0] <= state.level <= command.levels[1]:
        lowest, highest = command.levels
        return Conflict(
            f"{name} knows feature levels {lowest} to {highest}, and the cluster is at {state.level}",
            node=name,
        )
    return None


def remove_node(state: MetadataState, command: RemoveNode) -> NodeEntry | FloodmarkError:
    """A node that holds nothing of any partition goes for good."""
    name = command.node_id
    if state.level < MEMBERSHIP:
        return Conflict(f"nodes are removed from feature level {MEMBERSHIP} on", level=state.level)
    gone = state.nodes.get(name)
    if gone is None:
        return NotFound(f"the cluster knows no node {name}", node=name)
    if len(state.nodes) == 1:
        return Conflict(f"{name} is the cluster's only node", node=name)
    if refused := heir_refusal(state, name):
        return refused
    holding = [
        f"{topic.name}/{entry.number}"
        for topic, entry in partitions_of(state)
        if name in _having(entry, state.moves.get(entry.raft_group))
    ]
    if holding:
        more = f" and {len(holding) - HOLDING_NAMED_MAX} more" if len(holding) > HOLDING_NAMED_MAX else ""
        return Conflict(
            f"{name} has replicas of {', '.join(holding[:HOLDING_NAMED_MAX])}{more}: move them first",
            node=name,
            partitions=holding[:HOLDING_NAMED_MAX],
        )
    del state.nodes[name]
    state.draining.pop(name, None)
    state.retiring.pop(name, None)
    state.removed[name] = gone.incarnation
    return gone


def heir_refusal(state: MetadataState, name: str) -> FloodmarkError | None:
    """Why a node that takes another one's place cannot go now; None where it takes nobody's."""
    for old, heir in state.retiring.items():
        if heir == name:
            return Conflict(
                f"{name} takes the place of {old}: wait for that, or undo it (`floodmark node drain {old} "
                "--undo`)",
                node=name,
            )
    return None


def _having(entry: PartitionEntry, move: Move | None) -> tuple[str, ...]:
    """Who has a replica, or is to have one, also by a move whose turn has not come."""
    return (*entry.replicas, *move.replicas, *move.leaving) if move is not None else entry.replicas


def number_nodes(state: MetadataState) -> None:
    """The cluster comes to feature level 3: its nodes keep the numbers that they have had by their order."""
    state.node_numbers = {name: number for number, name in enumerate(sorted(state.nodes), 1)}
