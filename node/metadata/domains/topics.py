"""Topics: created, altered and deleted; their partitions get their group numbers here."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, TopicExists, UnknownTopic

from node.metadata.command import Command, command_type
from node.metadata.edit import Edit
from node.metadata.levels import MEMBERSHIP, below_level
from node.metadata.state import COORDINATOR_GROUPS_FROM, Applied, MetadataState, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig, changed_config


class CreateTopic(Command, frozen=True, tag="create_topic"):
    """A topic with its replicas placed: one list of nodes per partition, the preferred leader first."""

    name: str
    replication_factor: int
    config: TopicConfig
    assignments: list[list[str]]


class AlterTopic(Command, frozen=True, tag="alter_topic"):
    """Change some fields of a topic's configuration. ``topic_id`` guards against a later namesake."""

    name: str
    topic_id: int
    changes: dict[str, Any]


class DeleteTopic(Command, frozen=True, tag="delete_topic"):
    """Delete the topic and its data."""

    name: str
    topic_id: int


class ChangeReplicationFactor(Command, frozen=True, tag="change_replication_factor"):
    """How many replicas each partition of a topic is to have; moves get it there."""

    name: str
    topic_id: int
    replication_factor: int


class AddPartitions(Command, frozen=True, tag="add_partitions"):
    """More partitions for a topic that has ``partitions`` now, placed as in ``CreateTopic``."""

    name: str
    topic_id: int
    partitions: int
    assignments: list[list[str]]


def create_topic(edit: Edit, command: CreateTopic) -> Applied:
    """Returns the topic, with its partitions placed."""
    state = edit.state
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
    edit.put_topic(topic)
    return topic


def placed(
    state: MetadataState, assignments: list[list[str]], factor: int, *, from_number: int = 0
) -> tuple[PartitionEntry, ...] | FloodmarkError:
    """New partitions, with newly allocated group numbers."""
    for replicas in assignments:
        if len(replicas) != factor or len(set(replicas)) != len(replicas):
            return InvalidRequest(f"{replicas} is not a placement of {factor} replicas")
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


def add_partitions(edit: Edit, command: AddPartitions) -> Applied:
    """Returns the topic with its new partitions."""
    state = edit.state
    topic = _same_topic(state, command.name, command.topic_id)
    if isinstance(topic, FloodmarkError):
        return topic
    if topic.is_coordinator:
        return InvalidRequest(f"the shards of {command.name} are fixed: a group's name chooses one of them")
    if len(topic.partitions) != command.partitions:
        return Conflict(f"topic {command.name} now has {len(topic.partitions)} partitions")
    if not command.assignments:
        return InvalidRequest("no partitions are to be added")
    made = placed(state, command.assignments, topic.replication_factor, from_number=len(topic.partitions))
    if isinstance(made, FloodmarkError):
        return made
    changed = msgspec.structs.replace(topic, partitions=(*topic.partitions, *made))
    edit.put_topic(changed)
    return changed


def alter_topic(edit: Edit, command: AlterTopic) -> Applied:
    """Returns the topic as it is now."""
    state = edit.state
    topic = _same_topic(state, command.name, command.topic_id)
    if isinstance(topic, FloodmarkError):
        return topic
    try:
        config = changed_config(topic.config, command.changes)
    except InvalidRequest as error:
        return error
    changed = msgspec.structs.replace(topic, config=config)
    edit.put_topic(changed)
    return changed


def delete_topic(edit: Edit, command: DeleteTopic) -> Applied:
    """Returns the topic as it was."""
    topic = _same_topic(edit.state, command.name, command.topic_id)
    if not isinstance(topic, FloodmarkError):
        edit.remove_topic(topic)
    return topic


def change_replication_factor(edit: Edit, command: ChangeReplicationFactor) -> Applied:
    """Returns the topic as it is now; moves get its replicas there."""
    state = edit.state
    if refused := below_level(state.level, MEMBERSHIP):
        return refused
    topic = _same_topic(state, command.name, command.topic_id)
    if isinstance(topic, FloodmarkError):
        return topic
    if not 1 <= command.replication_factor <= len(state.nodes):
        return InvalidRequest(
            f"replication_factor {command.replication_factor} is not possible: the cluster has "
            f"{len(state.nodes)} nodes",
            nodes=len(state.nodes),
        )
    changed = msgspec.structs.replace(topic, replication_factor=command.replication_factor)
    edit.put_topic(changed)
    return changed


def _same_topic(state: MetadataState, name: str, topic_id: int) -> TopicEntry | FloodmarkError:
    topic = state.topics.get(name)
    if topic is None or topic.topic_id != topic_id:
        return UnknownTopic(f"there is no topic {name} (any more)", topic=name)
    return topic


COMMANDS: Final = dict(
    [
        command_type(CreateTopic, create_topic),
        command_type(AlterTopic, alter_topic),
        command_type(DeleteTopic, delete_topic),
        command_type(ChangeReplicationFactor, change_replication_factor, level=MEMBERSHIP),
        command_type(AddPartitions, add_partitions, level=MEMBERSHIP),
    ]
)
