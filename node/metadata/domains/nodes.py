"""Which nodes the cluster has: they register, join, are forgotten and removed.

From feature level 3 on, the nodes described here are the cluster's nodes, and no others are. The id and the
number of a removed node are never reused: old folders, clients and metrics know the old node by them.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from floodmark.errors import Conflict, FloodmarkError, NotFound

from node.metadata.command import Command, command_type
from node.metadata.edit import Edit
from node.metadata.holders import all_holders
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import Applied, MetadataState, NodeEntry, PartitionEntry, TopicEntry

V = TypeVar("V")
HOLDING_NAMED_MAX: Final = 10
"""How many partitions a refusal names."""


class RegisterNode(Command, frozen=True, tag="register_node"):
    """A node's addresses and the incarnation of its data folder, as it announced them."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str = ""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows."""


class JoinNode(RegisterNode, frozen=True, tag="join_node"):
    """A node with an empty folder joins an existing cluster."""


class RemoveNode(Command, frozen=True, tag="remove_node"):
    """Remove a node that holds no replica of a partition, for good, with its id."""

    node_id: str


class ForgetNode(Command, frozen=True, tag="forget_node"):
    """Remove a node with its replicas. ``replacements``: group id -> the node that gets one instead."""

    node_id: str
    replacements: dict[int, str] = msgspec.field(default_factory=dict)


def register_node(edit: Edit, command: RegisterNode) -> Applied:
    """Returns the entry. From feature level 3 on, only nodes that have joined may register."""
    state = edit.state
    if state.level >= MEMBERSHIP and command.node_id not in state.nodes:
        return Conflict(f"{command.node_id} is not one of the cluster's nodes", node=command.node_id)
    return _describe(edit, command)


def join_node(edit: Edit, command: JoinNode) -> Applied:
    """Returns the new node's entry; the node gets the next number."""
    state = edit.state
    refused = join_refusal(state, command)
    if refused is not None:
        return refused
    if command.node_id not in state.node_numbers:  # A node that a recovery left out already has one.
        state.node_numbers = {**state.node_numbers, command.node_id: len(state.node_numbers) + 1}
    return _describe(edit, command)


def _describe(edit: Edit, command: RegisterNode) -> NodeEntry:
    entry = NodeEntry(
        command.node_id, command.http, command.peer, command.incarnation, command.rack, command.levels
    )
    edit.put_node(entry)
    return entry


def join_refusal(state: MetadataState, command: JoinNode) -> FloodmarkError | None:
    """Why this node may not join the cluster; None where it may."""
    if state.level < MEMBERSHIP:  # It could not be written down.
        return Conflict(f"adding nodes needs feature level {MEMBERSHIP}", level=state.level)
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


def remove_node(edit: Edit, command: RemoveNode) -> NodeEntry | FloodmarkError:
    """Removes a node that holds nothing of any partition, for good; returns the entry that it had."""
    state, name = edit.state, command.node_id
    if state.level < MEMBERSHIP:
        return Conflict(f"removing nodes needs feature level {MEMBERSHIP}", level=state.level)
    gone = state.nodes.get(name)
    if gone is None:
        return NotFound(f"the cluster knows no node {name}", node=name)
    if len(state.nodes) == 1:
        return Conflict(f"{name} is the cluster's only node", node=name)
    if refused := heir_refusal(state, name):
        return refused
    holding = [
        f"{topic.name}/{entry.number}"
        for topic, entry in state.partitions()
        if name in all_holders(entry, state.moves.get(entry.raft_group))
    ]
    if holding:
        more = f" and {len(holding) - HOLDING_NAMED_MAX} more" if len(holding) > HOLDING_NAMED_MAX else ""
        return Conflict(
            f"{name} has replicas of {', '.join(holding[:HOLDING_NAMED_MAX])}{more}: move them first",
            node=name,
            partitions=holding[:HOLDING_NAMED_MAX],
        )
    edit.remove_node(name)
    state.draining = without(state.draining, name)
    state.retiring = without(state.retiring, name)
    state.removed = {**state.removed, name: gone.incarnation}
    return gone


def heir_refusal(state: MetadataState, name: str) -> FloodmarkError | None:
    """Why a node cannot be removed now, since it takes another one's place; None where it does not."""
    for old, heir in state.retiring.items():
        if heir == name:
            return Conflict(
                f"{name} takes the place of {old}: wait for that, or undo it (`floodmark node drain {old} "
                "--undo`)",
                node=name,
            )
    return None


def number_nodes(state: MetadataState) -> None:
    """The cluster comes to feature level 3: store the numbers that its nodes had by their order until now."""
    state.node_numbers = {name: number for number, name in enumerate(sorted(state.nodes), 1)}


def without(members: dict[str, V], name: str) -> dict[str, V]:
    """The same dictionary without one of its keys."""
    return {key: value for key, value in members.items() if key != name}


def forget_node(edit: Edit, command: ForgetNode) -> NodeEntry | FloodmarkError:
    """Returns the entry that it had. Its replicas go to the nodes that the command names, or to none."""
    state = edit.state
    gone = state.nodes.get(command.node_id)
    if gone is None:
        return NotFound(f"the cluster knows no node {command.node_id}", node=command.node_id)
    if state.level >= MEMBERSHIP:
        return Conflict(f"{command.node_id} is one of the cluster's nodes", node=command.node_id)
    if any(gone.node_id in (*move.replicas, *move.leaving) for move in state.moves.values()):
        return Conflict(
            f"replicas are on their way to {command.node_id}: cancel that first", node=gone.node_id
        )
    topics = {name: _without_node(state, topic, command) for name, topic in state.topics.items()}
    if not all(entry.replicas for topic in topics.values() for entry in topic.partitions):
        return Conflict(f"{command.node_id} has the only replica of a partition", node=command.node_id)
    for name, topic in topics.items():
        if topic is not state.topics[name]:
            edit.put_topic(topic)
    edit.remove_node(command.node_id)
    return gone


def _without_node(state: MetadataState, topic: TopicEntry, command: ForgetNode) -> TopicEntry:
    """The topic without the node; a replacement counts as lost until it has fetched everything."""
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


COMMANDS: Final = dict(
    [
        command_type(RegisterNode, register_node),
        command_type(ForgetNode, forget_node),
        command_type(JoinNode, join_node, level=MEMBERSHIP),
        command_type(RemoveNode, remove_node, level=MEMBERSHIP),
    ]
)
