"""The cluster's description of itself, and the pure function that a command is.

Every node computes the same state from the same log: nothing here reads a clock, a random source or a
setting. Entries are immutable values; the state's dictionaries are replaced entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound, TopicExists, UnknownTopic

from node.broker import TopicConfig
from node.metadata.commands import (
    AllocateProducerIds,
    AlterTopic,
    AnyCommand,
    CancelMoves,
    Command,
    CreateTopic,
    DeleteTopic,
    FinishMoves,
    ForgetNode,
    FormCluster,
    MoveReplicas,
    RaiseLevel,
    RecordRecovery,
    RegisterNode,
    StartMoves,
)
from node.metadata.levels import NUMBERED_PRODUCERS
from node.metadata.moves import Move, cancel_moves, finish_moves, move_replicas, start_moves, without_moves
from node.metadata.recoveries import Recovery, record_recovery
from node.metadata.topic_config import changed_config

METADATA_GROUP = 0
COORDINATOR_GROUPS_FROM = 1 << 62
"""Partitions' groups are numbered from 1 on and stay below; coordinators' stand from here on, below 2^63."""
PRODUCER_ID_END = 1 << 63
PRODUCER_IDS_MAX = 1_000_000
"""In one block."""


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


class PartitionEntry(msgspec.Struct, frozen=True):
    """One partition. ``replicas`` begins with the preferred leader.

    ``incarnations`` are those of the replicas' data folders when the partition was made: a replica whose
    node has another one by now was wiped since.
    """

    number: int
    group_id: int
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


class MetadataState(msgspec.Struct):
    """All of it. ``applied_index`` is the Raft index of the last command that is part of it."""

    applied_index: int = 0
    next_topic_id: int = 1
    next_group_id: int = METADATA_GROUP + 1
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
    """Change ``state`` as ``command`` says. Returns an error, and changes nothing, where it can not hold."""
    return APPLY[type(command)](state, command)


def _form(state: MetadataState, command: FormCluster) -> Applied:
    state.formation = state.formation or command.formation
    return state.formation


def highest_level(state: MetadataState) -> int:
    """The highest feature level that every registered node knows."""
    return min((entry.levels[1] for entry in state.nodes.values()), default=state.level)


def level_refusal(state: MetadataState, level: int) -> FloodmarkError | None:
    """Why the cluster can not be of this feature level; None where it can, or is already."""
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
    state.level = command.level
    return state.level


def _register(state: MetadataState, command: RegisterNode) -> Applied:
    entry = NodeEntry(
        command.node_id, command.http, command.peer, command.incarnation, command.rack, command.levels
    )
    state.nodes[entry.node_id] = entry
    return entry


def _forget(state: MetadataState, command: ForgetNode) -> Applied:
    gone = state.nodes.get(command.node_id)
    if gone is None:
        return NotFound(f"the cluster knows no node {command.node_id}", node=command.node_id)
    if any(gone.node_id in (*move.replicas, *move.leaving) for move in state.moves.values()):
        return Conflict(
            f"replicas are on their way to {command.node_id}: cancel that first", node=gone.node_id
        )
    topics = {name: _without(state, topic, command) for name, topic in state.topics.items()}
    if not all(entry.replicas for topic in topics.values() for entry in topic.partitions):
        return Conflict(f"{command.node_id} has the only replica of a partition", node=command.node_id)
    state.topics.update(topics)
    del state.nodes[command.node_id]
    return gone


def _without(state: MetadataState, topic: TopicEntry, command: ForgetNode) -> TopicEntry:
    """The topic without the node; what a replacement holds before it has fetched all counts as lost."""
    gone = command.node_id

    def changed(entry: PartitionEntry) -> PartitionEntry:
        if gone not in entry.replicas:
            return entry
        kept = {node: entry.incarnation_of(node) for node in entry.replicas if node != gone}
        other = command.replacements.get(entry.group_id, "")
        if other in state.nodes and other != gone:
            kept.setdefault(other, "")
        return msgspec.structs.replace(entry, replicas=tuple(kept), incarnations=tuple(kept.values()))

    partitions = tuple(changed(entry) for entry in topic.partitions)
    if partitions == topic.partitions:
        return topic
    factor = max(len(entry.replicas) for entry in partitions)
    return msgspec.structs.replace(topic, partitions=partitions, replication_factor=factor)


def _create(state: MetadataState, command: CreateTopic) -> Applied:
    existing = state.topics.get(command.name)
    if existing is not None:
        return TopicExists(f"there is a topic {command.name} already", topic=command.name)
    if not command.assignments:
        return InvalidRequest("a topic has at least one partition")
    for replicas in command.assignments:
        if len(replicas) != command.replication_factor or len(set(replicas)) != len(replicas):
            return InvalidRequest(f"{replicas} is no placement of {command.replication_factor} replicas")
        if not state.nodes.keys() >= set(replicas):
            return Conflict(f"the placement {replicas} names a node that the cluster does not know")
    if state.next_group_id + len(command.assignments) > COORDINATOR_GROUPS_FROM:
        return Conflict("there are no numbers left for the groups of partitions")
    partitions = tuple(
        PartitionEntry(
            number,
            state.next_group_id + number,
            tuple(replicas),
            tuple(state.nodes[node].incarnation for node in replicas),
        )
        for number, replicas in enumerate(command.assignments)
    )
    topic = TopicEntry(
        command.name, state.next_topic_id, command.replication_factor, command.config, partitions
    )
    state.next_topic_id += 1
    state.next_group_id += len(partitions)
    state.topics[topic.name] = topic
    return topic


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
        without_moves(state, [entry.group_id for entry in topic.partitions])
    return topic


def _allocate_producer_ids(state: MetadataState, command: AllocateProducerIds) -> Applied:
    if state.level < NUMBERED_PRODUCERS:  # It could not be written down.
        return Conflict(f"numbered producers need feature level {NUMBERED_PRODUCERS}", level=state.level)
    if not 1 <= command.count <= PRODUCER_IDS_MAX:
        return InvalidRequest(f"a block has 1 to {PRODUCER_IDS_MAX} producer ids, not {command.count}")
    first = state.next_producer_id
    if first + command.count > PRODUCER_ID_END:
        return Conflict("all producer ids are given out")
    state.next_producer_id += command.count
    return first


def _same_topic(state: MetadataState, name: str, topic_id: int) -> TopicEntry | FloodmarkError:
    topic = state.topics.get(name)
    if topic is None or topic.topic_id != topic_id:
        return UnknownTopic(f"there is no topic {name} (any more)", topic=name)
    return topic


APPLY: Final[dict[type[Command], Callable[[MetadataState, Any], Applied]]] = {
    RegisterNode: _register,
    ForgetNode: _forget,
    FormCluster: _form,
    RaiseLevel: _raise_level,
    CreateTopic: _create,
    AlterTopic: _alter,
    DeleteTopic: _delete,
    AllocateProducerIds: _allocate_producer_ids,
    MoveReplicas: move_replicas,
    StartMoves: start_moves,
    FinishMoves: finish_moves,
    CancelMoves: cancel_moves,
    RecordRecovery: record_recovery,
}
"""What each kind of command does."""
