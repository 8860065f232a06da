"""The coordinator's shards: partitions of a topic of the cluster's own, whose logs hold no records.

So they are placed, moved, drained, repaired and recovered as all partitions are. There is one such topic,
made when it is first needed.
"""

from __future__ import annotations

import zlib
from typing import Final

from floodmark.errors import FloodmarkError, InvalidRequest, TopicExists

from node.metadata.command import Command, command_type
from node.metadata.domains.topics import placed
from node.metadata.edit import Edit
from node.metadata.levels import GROUPS, below_level
from node.metadata.state import COORDINATOR, COORDINATOR_TOPIC, Applied, TopicEntry
from node.metadata.topic_config import TopicConfig

SHARDS: Final = 16
"""How many there are, for as long as the cluster lives: a group's name chooses one of them."""


def shard_of(group: str, shards: int) -> int:
    """Which of so many shards keeps the group of this name: the same on every node and build, for good."""
    return zlib.crc32(group.encode()) % shards


class CreateCoordinator(Command, frozen=True, tag="create_coordinator"):
    """The shards with their replicas placed: one list of nodes for each, the preferred leader first."""

    replication_factor: int
    segment_bytes: int
    assignments: list[list[str]]


def create_coordinator(edit: Edit, command: CreateCoordinator) -> Applied:
    """Returns the topic, with its partitions placed."""
    state = edit.state
    if refused := below_level(state.level, GROUPS):
        return refused
    if COORDINATOR_TOPIC in state.topics:
        return TopicExists(f"there is a topic {COORDINATOR_TOPIC} already", topic=COORDINATOR_TOPIC)
    if len(command.assignments) != SHARDS:
        return InvalidRequest(f"a coordinator has {SHARDS} shards, not {len(command.assignments)}")
    partitions = placed(state, command.assignments, command.replication_factor)
    if isinstance(partitions, FloodmarkError):
        return partitions
    topic = TopicEntry(
        COORDINATOR_TOPIC,
        state.next_topic_id,
        command.replication_factor,
        TopicConfig(None, None, 1 << 20, command.segment_bytes),
        partitions,
        kind=COORDINATOR,
    )
    state.next_topic_id += 1
    edit.put_topic(topic)
    return topic


COMMANDS: Final = dict([command_type(CreateCoordinator, create_coordinator, level=GROUPS)])
