"""The cluster's description of itself, and the pure function that a command is.

Every node computes the same state from the same log: nothing here reads a clock, a random source or a
setting. Entries are immutable values; the state's dictionaries are replaced entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, TopicExists, UnknownTopic

from node.metadata.commands import (
    AddPartitions,
    AllocateProducerIds,
    AlterTopic,
    AnyCommand,
    CancelMoves,
    ChangeReplicationFactor,
    Command,
    CreateTopic,
    DeleteTopic,
    DrainNode,
    FinishMoves,
    ForgetNode,
    FormCluster,
    JoinNode,
    MoveReplicas,
    RaiseLevel,
    Rebalance,
    RecordRecovery,
    RegisterNode,
    RemoveNode,
    RetireNode,
    StartMoves,
    UndrainNode,
)
from node.metadata.forget import forget
from node.metadata.levels import MEMBERSHIP
from node.metadata.members import join_refusal, number_nodes, remove_node
from node.metadata.moves import Move, cancel_moves, finish_moves, move_replicas, start_moves, without_moves
from node.metadata.producer_blocks import allocate_producer_ids
from node.metadata.recoveries import Recovery, record_recovery
from node.metadata.retire import retire_node
from node.metadata.shape import change_replication_factor, drain_node, rebalance, undrain_node
from node.metadata.topic_config import TopicConfig, changed_config

METADATA_GROUP = 0
COORDINATOR_GROUPS_FROM = 1 << 62
"""Partitions' groups are numbered from 1 on and stay below; coordinators' stand from here on, below 2^63."""


class NodeEntry(msgspec.Struct, frozen=True):
    """A node that has announced itself."""

    node_id: str
    http: str
    peer: str
    incarnation: str
    rack: str = ""
    levels: tuple[int, int] = (1, 1)
    """The lowest and the highest feature level that its build knows, as it said when it was last met."""

    def knows(self, level: int) -> bool:
        """Whether it can work in a cluster of this feature level."""
        lowest, highest = self.levels
        return lowest <= level <= highest


class PartitionEntry(msgspec.Struct, frozen=True, rename={"raft_group": "group_id"}):
    """One partition. ``replicas`` begins with the preferred leader.

    ``incarnations`` are those of the replicas' data folders when the partition was made: a replica whose
    node has another one by now was wiped since.
    """

    number: int
    raft_group: int
    replicas: tuple[str, ...]
    incarnations: tuple[str, ...]

    def incarnation_of(self, node_id: str) -> str:
        """What ``node_id``'s folder was when this partition was made; "" when it is no replica."""
        return dict(zip(self.replicas, self.incarnations, strict=True)).get(node_id, "")


class TopicEntry(msgspec.Struct, frozen=True):
    """One topic. ``topic_id`` is never reused, so a namesake made later is another topic."""

    name: str
    topic_id: int
    replication_factor: int
    config: TopicConfig
    partitions: tuple[PartitionEntry, ...]


class MetadataState(msgspec.Struct, rename={"next_raft_group": "next_group_id"}):
    """All of it. ``applied_index`` is the Raft index of the last command that is part of it."""

    applied_index: int = 0
    next_topic_id: int = 1
    next_raft_group: int = METADATA_GROUP + 1
    nodes: dict[str, NodeEntry] = {}
    topics: dict[str, TopicEntry] = {}
    formation: str = ""
    """This cluster's own name, which no other one has; empty until its first leader has given it."""
    level: int = 1
    """The feature level (levels.py). Builds before levels wrote none, and what they wrote is of level 1."""
    next_producer_id: int = 1
    """The first number that no producer was given. Of level 2: written down from there on."""
    moves: dict[int, Move] = {}
    """Partitions on their way to other nodes, by group id. Of level 3."""
    next_move: int = 1
    """The first number that no move was given. Of level 3."""
    recoveries: tuple[Recovery, ...] = ()
    """From the loss of a majority, the last one last. Of level 3."""
    removed: dict[str, str] = {}
    """Nodes that were removed, and the incarnation that each had: their ids never return. Of level 3."""
    node_numbers: dict[str, int] = {}
    """Of every node that the cluster has had since it came to level 3 (numbers.py)."""
    draining: dict[str, int] = {}
    """Nodes that get no replicas, and lose those that they have; since which index. Of level 3."""
    retiring: dict[str, str] = {}
    """Of those, the ones that are removed at the end, and who takes their place; "": nobody. Of level 3."""
    rebalancing: int = 0
    """The number of the rebalance that goes on; 0 for none. Of level 3."""

    @property
    def cluster_epoch(self) -> int:
        """How often the cluster was recovered: nodes of an earlier epoch are refused."""
        return self.recoveries[-1].epoch if self.recoveries else 0

    @property
    def recovery(self) -> str:
        """The name of the last recovery; "" when there was none."""
        return self.recoveries[-1].name if self.recoveries else ""


Applied = NodeEntry | TopicEntry | str | int | FloodmarkError
"""What a command came to: the entry that it made, changed or removed, the formation's name, the feature
level, the first of the ids, how many moves; or why it changed nothing."""


def apply(state: MetadataState, command: AnyCommand) -> Applied:
    """Change ``state`` as ``command`` says. Returns an error, and changes nothing, where it cannot hold."""
    return APPLY[type(command)](state, command)


def _form(state: MetadataState, command: FormCluster) -> Applied:
    state.formation = state.formation or command.formation
    return state.formation


def highest_level(state: MetadataState) -> int:
    """The highest feature level that every registered node knows."""
    return min((entry.levels[1] for entry in state.nodes.values()), default=state.level)


def level_refusal(state: MetadataState, level: int) -> FloodmarkError | None:
    """Why the cluster cannot be of this feature level; None where it can, or is already."""
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


def _raise_level(state: MetadataState, command: RaiseLevel) -> Applied:
    refused = level_refusal(state, command.level)
    if refused is not None:
        return refused
    if state.level < MEMBERSHIP <= command.level:
        number_nodes(state)
    state.level = command.level
    return state.level


def _register(state: MetadataState, command: RegisterNode) -> Applied:
    if state.level >= MEMBERSHIP and command.node_id not in state.nodes:
        return Conflict(f"{command.node_id} is none of the cluster's nodes", node=command.node_id)
    return _described(state, command)


def _join(state: MetadataState, command: JoinNode) -> Applied:
    refused = join_refusal(state, command)
    if refused is not None:
        return refused
    # One that a recovery left out has its own already.
    state.node_numbers.setdefault(command.node_id, len(state.node_numbers) + 1)
    return _described(state, command)


def _described(state: MetadataState, command: RegisterNode) -> NodeEntry:
    entry = NodeEntry(
        command.node_id, command.http, command.peer, command.incarnation, command.rack, command.levels
    )
    state.nodes[entry.node_id] = entry
    return entry


def _create(state: MetadataState, command: CreateTopic) -> Applied:
    existing = state.topics.get(command.name)
    if existing is not None:
        return TopicExists(f"there is a topic {command.name} already", topic=command.name)
    if not command.assignments:
        return InvalidRequest("a topic has at least one partition")
    partitions = placed(state, command.assignments, command.replication_factor)
    if isinstance(partitions, FloodmarkError):
        return partitions
    topic = TopicEntry(
        command.name, state.next_topic_id, command.replication_factor, command.config, partitions
    )
    state.next_topic_id += 1
    state.topics[topic.name] = topic
    return topic


def placed(
    state: MetadataState, assignments: list[list[str]], factor: int, *, from_number: int = 0
) -> tuple[PartitionEntry, ...] | FloodmarkError:
    """New partitions, which have their groups' numbers from now on."""
    for replicas in assignments:
        if len(replicas) != factor or len(set(replicas)) != len(replicas):
            return InvalidRequest(f"{replicas} is no placement of {factor} replicas")
        if not state.nodes.keys() >= set(replicas):
            return Conflict(f"the placement {replicas} names a node that the cluster does not know")
    if state.next_raft_group + len(assignments) > COORDINATOR_GROUPS_FROM:
        return Conflict("there are no numbers left for the groups of partitions")
    made = tuple(
        PartitionEntry(
            from_number + number,
            state.next_raft_group + number,
            tuple(replicas),
            tuple(state.nodes[node].incarnation for node in replicas),
        )
        for number, replicas in enumerate(assignments)
    )
    state.next_raft_group += len(made)
    return made


def _add_partitions(state: MetadataState, command: AddPartitions) -> Applied:
    topic = _same_topic(state, command.name, command.topic_id)
    if isinstance(topic, FloodmarkError):
        return topic
    if len(topic.partitions) != command.partitions:
        return Conflict(f"topic {command.name} has {len(topic.partitions)} partitions by now")
    if not command.assignments:
        return InvalidRequest("no partitions are to be added")
    made = placed(state, command.assignments, topic.replication_factor, from_number=len(topic.partitions))
    if isinstance(made, FloodmarkError):
        return made
    changed = msgspec.structs.replace(topic, partitions=(*topic.partitions, *made))
    state.topics[topic.name] = changed
    return changed


def _alter(state: MetadataState, command: AlterTopic) -> Applied:
    topic = _same_topic(state, command.name, command.topic_id)
    if isinstance(topic, FloodmarkError):
        return topic
    try:
        config = changed_config(topic.config, command.changes)
    except InvalidRequest as error:
        return error
    changed = msgspec.structs.replace(topic, config=config)
    state.topics[topic.name] = changed
    return changed


def _delete(state: MetadataState, command: DeleteTopic) -> Applied:
    topic = _same_topic(state, command.name, command.topic_id)
    if not isinstance(topic, FloodmarkError):
        del state.topics[topic.name]
        without_moves(state, [entry.raft_group for entry in topic.partitions])
    return topic


def _same_topic(state: MetadataState, name: str, topic_id: int) -> TopicEntry | FloodmarkError:
    topic = state.topics.get(name)
    if topic is None or topic.topic_id != topic_id:
        return UnknownTopic(f"there is no topic {name} (any more)", topic=name)
    return topic


APPLY: Final[dict[type[Command], Callable[[MetadataState, Any], Applied]]] = {
    RegisterNode: _register,
    ForgetNode: forget,
    FormCluster: _form,
    RaiseLevel: _raise_level,
    CreateTopic: _create,
    AlterTopic: _alter,
    DeleteTopic: _delete,
    AllocateProducerIds: allocate_producer_ids,
    MoveReplicas: move_replicas,
    StartMoves: start_moves,
    FinishMoves: finish_moves,
    CancelMoves: cancel_moves,
    RecordRecovery: record_recovery,
    DrainNode: drain_node,
    UndrainNode: undrain_node,
    RetireNode: retire_node,
    ChangeReplicationFactor: change_replication_factor,
    AddPartitions: _add_partitions,
    Rebalance: rebalance,
    JoinNode: _join,
    RemoveNode: remove_node,
}
"""What each kind of command does."""
