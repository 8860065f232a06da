"""What an operator wants the cluster to look like: drained nodes, retired nodes, an even load.

These state the goal; node/planning/ plans the moves towards it until it is reached.
"""

from __future__ import annotations

from typing import Final

from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound

from node.metadata.command import Command, command_type
from node.metadata.domains.moves import CancelMoves, cancel_moves
from node.metadata.domains.nodes import heir_refusal, without
from node.metadata.edit import Edit
from node.metadata.levels import MEMBERSHIP, below_level
from node.metadata.state import Applied, MetadataState

DRAIN: Final = "drain"
REPAIR: Final = "replication factor"
REBALANCE: Final = "rebalance"
"""Reasons of moves that were planned, rather than asked for one by one."""


class DrainNode(Command, frozen=True, tag="drain_node"):
    """A node gets no more replicas and leaderships; those that it has go elsewhere."""

    node_id: str


class UndrainNode(Command, frozen=True, tag="undrain_node"):
    """End a node's drain; replicas on their way from it stay there."""

    node_id: str


class RetireNode(Command, frozen=True, tag="retire_node"):
    """A node is drained for good: once it holds nothing of any partition, it is removed.

    ``heir``: the node that takes its place, with all its replicas. Without one they go wherever there is
    a place, and where there is none the partitions have fewer.
    """

    node_id: str
    heir: str = ""


class Rebalance(Command, frozen=True, tag="rebalance"):
    """Begin to even out replicas and leaders, or without ``begin`` end the rebalance with this ``number``."""

    begin: bool
    number: int = 0
    """0 means the present one, cancelled: its moves are undone."""


def drain_node(edit: Edit, command: DrainNode) -> Applied:
    """Returns how many nodes are now drained."""
    state = edit.state
    if refused := below_level(state.level, MEMBERSHIP):
        return refused
    if command.node_id not in state.nodes:
        return NotFound(f"the cluster knows no node {command.node_id}", node=command.node_id)
    if refused := heir_refusal(state, command.node_id):
        return refused
    if command.node_id not in state.draining:
        state.draining = {**state.draining, command.node_id: state.applied_index + 1}
    return len(state.draining)


def undrain_node(edit: Edit, command: UndrainNode) -> Applied:
    """Returns how many nodes are still drained."""
    state = edit.state
    node = command.node_id
    if node not in state.draining:
        return NotFound(f"node {node} is not drained", node=node)
    state.draining = without(state.draining, node)
    state.retiring = without(state.retiring, node)
    going = {
        entry.raft_group: move.number
        for group, move in state.moves.items()
        if move.reason == DRAIN
        and (found := state.partition(group)) is not None
        and (entry := found[1])
        and node in entry.replicas
        and node not in move.replicas
        and state.draining.keys().isdisjoint(entry.replicas)
    }
    cancel_moves(edit, CancelMoves(going, "undrained"))
    return len(state.draining)


def retire_node(edit: Edit, command: RetireNode) -> Applied:
    """Returns how many nodes are now drained."""
    state = edit.state
    node, heir = command.node_id, command.heir
    if state.retiring.get(node) == heir:
        return len(state.draining)
    if node in state.nodes:  # else it is not known, and cannot be drained either
        refused = _heir_refusal(state, node, heir) if heir else None
        if other := state.retiring.get(node):
            refused = Conflict(f"{other} takes the place of {node} already: undo that first", node=other)
        if not state.nodes.keys() - state.draining.keys() - {node}:
            refused = Conflict(f"without {node} there is no node that takes replicas", node=node)
        if refused is not None:
            return refused
    drained = drain_node(edit, DrainNode(node))
    if not isinstance(drained, FloodmarkError):
        state.retiring = {**state.retiring, node: heir}
    return drained


def _heir_refusal(state: MetadataState, node: str, heir: str) -> FloodmarkError | None:
    if heir == node:
        return InvalidRequest(f"{node} cannot take its own place", node=node)
    if heir not in state.nodes:
        return Conflict(f"{heir} is not a node of the cluster: it cannot take the place of {node}", node=heir)
    if heir in state.draining:
        return Conflict(f"{heir} is being drained: it cannot take the place of {node}", node=heir)
    return None


def rebalance(edit: Edit, command: Rebalance) -> Applied:
    """Returns the number of the rebalance under way; 0 when there is none."""
    state = edit.state
    if refused := below_level(state.level, MEMBERSHIP):
        return refused
    if command.begin:
        state.rebalancing = state.rebalancing or state.applied_index + 1
    elif command.number == 0:
        state.rebalancing = 0
        going = {group: move.number for group, move in state.moves.items() if move.reason == REBALANCE}
        cancel_moves(edit, CancelMoves(going, "rebalance cancelled"))
    elif command.number == state.rebalancing:
        state.rebalancing = 0
    return state.rebalancing


COMMANDS: Final = dict(
    [
        command_type(DrainNode, drain_node, level=MEMBERSHIP),
        command_type(UndrainNode, undrain_node, level=MEMBERSHIP),
        command_type(RetireNode, retire_node, level=MEMBERSHIP),
        command_type(Rebalance, rebalance, level=MEMBERSHIP),
    ]
)
