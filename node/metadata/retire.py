"""Nodes that are drained for good: at the end they are removed, and another one may come in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.errors import Conflict, FloodmarkError, InvalidRequest

from node.metadata.commands import DrainNode, RetireNode
from node.metadata.shape import drain_node

if TYPE_CHECKING:
    from node.metadata.state import MetadataState


def retire_node(state: MetadataState, command: RetireNode) -> int | FloodmarkError:
    """How many nodes are drained now."""
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
    drained = drain_node(state, DrainNode(node))
    if not isinstance(drained, FloodmarkError):
        state.retiring[node] = heir
    return drained


def _heir_refusal(state: MetadataState, node: str, heir: str) -> FloodmarkError | None:
    if heir == node:
        return InvalidRequest(f"{node} cannot take its own place", node=node)
    if heir not in state.nodes:
        return Conflict(f"{heir} is no node of the cluster: it cannot take the place of {node}", node=heir)
    if heir in state.draining:
        return Conflict(f"{heir} is being drained: it cannot take the place of {node}", node=heir)
    return None
