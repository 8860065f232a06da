"""The cluster's own name, and the feature level that it has agreed on."""

from __future__ import annotations

from typing import Final

from floodmark.errors import Conflict, FloodmarkError

from node.metadata.command import Command, command_type
from node.metadata.domains.nodes import number_nodes
from node.metadata.edit import Edit
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import Applied, MetadataState


class FormCluster(Command, frozen=True, tag="form_cluster"):
    """Give the cluster its name, drawn at random; the first one stays."""

    formation: str


class RaiseLevel(Command, frozen=True, tag="raise_level"):
    """Raise the cluster's feature level, for good; every node must know it."""

    level: int


def form_cluster(edit: Edit, command: FormCluster) -> Applied:
    """Returns the cluster's name: the first one that it was given."""
    edit.state.formation = edit.state.formation or command.formation
    return edit.state.formation


def highest_level(state: MetadataState) -> int:
    """The highest feature level that every registered node knows."""
    return min((entry.levels[1] for entry in state.nodes.values()), default=state.level)


def level_refusal(state: MetadataState, level: int) -> FloodmarkError | None:
    """Why the cluster cannot be at this feature level; None where it can, or already is."""
    if level < state.level:
        return Conflict(
            f"the cluster is at feature level {state.level}, which is never lowered: what was written since "
            f"then needs it",
            level=state.level,
        )
    for _, entry in sorted(state.nodes.items()):
        if level > state.level and not entry.knows(level):
            lowest, highest = entry.levels
            return Conflict(
                f"{entry.node_id} knows feature levels {lowest} to {highest}, not {level}: start a Floodmark "
                f"there that does, and wait until it is ready",
                node=entry.node_id,
                level=state.level,
            )
    return None


def raise_level(edit: Edit, command: RaiseLevel) -> Applied:
    """Returns the level that the cluster now has."""
    state = edit.state
    refused = level_refusal(state, command.level)
    if refused is not None:
        return refused
    if state.level < MEMBERSHIP <= command.level:
        number_nodes(state)
    state.level = command.level
    return state.level


COMMANDS: Final = dict([command_type(FormCluster, form_cluster), command_type(RaiseLevel, raise_level)])
