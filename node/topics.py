"""Topic changes: checks, placement, the proposal to the metadata group, and its result."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from floodmark.errors import FloodmarkError, InvalidRequest, TopicExists
from floodmark.format.limits import PARTITIONS_MAX
from floodmark.format.names import check_name

from node import outcomes
from node.control.partition_room import PartitionRoom
from node.control.placeable import Candidates, Placeable
from node.metadata.command import Command
from node.metadata.domains.coordinator import SHARDS, CreateCoordinator
from node.metadata.domains.topics import (
    AddPartitions,
    AlterTopic,
    ChangeReplicationFactor,
    CreateTopic,
    DeleteTopic,
)
from node.metadata.group import Metadata
from node.metadata.placement import place_in
from node.metadata.state import COORDINATOR_TOPIC, TopicEntry
from node.metadata.topic_config import TopicConfig, changed_config
from node.replicas.disk_reserve import DiskReserve

T = TypeVar("T")
REPLICATION_FACTOR_DEFAULT: Final = 3
COORDINATOR_SEGMENT_BYTES: Final = 8 << 20
LEADERS_WAIT_S: Final = 5.0
"""How long to wait for the leaders of a created topic; it exists whether or not they come in time."""


class Topics:
    """Creates, alters and deletes topics; works on the metadata group's leader only."""

    def __init__(
        self,
        metadata: Metadata,
        placeable: Placeable,
        wait_leaders: Callable[[TopicEntry, float], Awaitable[None]],
        disk: DiskReserve,
        room: PartitionRoom,
    ) -> None:
        self._metadata = metadata
        self._placeable = placeable
        self._wait_leaders = wait_leaders
        self._disk = disk
        self._room = room

    def find(self, name: str) -> TopicEntry:
        """Raises ``InvalidName``, ``UnknownTopic``; ``Unavailable`` where this node's view is known to be
        outdated.
        """
        self._metadata.check()
        topic = self._metadata.state.topics.get(name)
        if topic is None:
            check_name(name)
            raise outcomes.unknown_topic(name)
        return topic

    def id_of(self, name: str) -> int | None:
        """The id that the topic of this name has now; None when there is none."""
        topic = self._metadata.state.topics.get(name)
        return None if topic is None else topic.topic_id

    async def create(
        self, name: str, *, partitions: int, replication_factor: int, config: TopicConfig, timeout_s: float
    ) -> tuple[TopicEntry, bool]:
        """The topic, and whether it is new. A ``replication_factor`` of 0: three, or one per node."""
        check_name(name)
        changed_config(config, {})
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidRequest(f"a topic has 1 to {PARTITIONS_MAX} partitions, not {partitions}")
        self._metadata.check_leads()
        deadline = asyncio.get_running_loop().time() + timeout_s
        members = len(self._metadata.membership.members)
        factor = replication_factor or min(REPLICATION_FACTOR_DEFAULT, members)
        if name in self._metadata.state.topics:
            # As wanted or not, this is an answer about the existing topic, not a failed change.
            await self._metadata.confirm_lead(timeout_s=timeout_s)
        existing = self._metadata.state.topics.get(name)
        if existing is not None:
            return self._same(existing, partitions, factor, config), False
        if factor > members:
            raise InvalidRequest(
                f"replication_factor {factor} is not possible: the cluster has {members} nodes; "
                f"use 1 to {members}",
                nodes=members,
            )
        self._disk.check()
        candidates = await self._placeable()
        candidates.check(factor)
        try:
            topic = await self._place(
                candidates,
                partitions,
                factor,
                lambda placed: CreateTopic(name, factor, config, placed),
                deadline,
            )
        except TopicExists:
            # Another request was faster; it may have asked for the same.
            return self._same(self.find(name), partitions, factor, config), False
        return topic, True

    async def create_coordinator(self, *, timeout_s: float) -> None:
        """Make the coordinator's shards, unless they are there. Where too few nodes take replicas now, they
        get more of them later (node/control/internal_topics.py).

        Raises ``FeatureLevelNeeded``, ``StorageFull``, ``Conflict``, ``Unavailable``.
        """
        self._metadata.check_leads()
        deadline = asyncio.get_running_loop().time() + timeout_s
        if COORDINATOR_TOPIC in self._metadata.state.topics:
            await self._metadata.confirm_lead(timeout_s=timeout_s)
        existing = self._metadata.state.topics.get(COORDINATOR_TOPIC)
        if existing is None:
            self._disk.check()
            candidates = await self._placeable()
            candidates.check(1)
            factor = min(REPLICATION_FACTOR_DEFAULT, len(candidates.racks))
            with contextlib.suppress(TopicExists):
                await self._place(
                    candidates,
                    SHARDS,
                    factor,
                    lambda placed: CreateCoordinator(factor, COORDINATOR_SEGMENT_BYTES, placed),
                    deadline,
                )
                return
        self._check_coordinator()

    def _check_coordinator(self) -> None:
        """An earlier build let users have topics of any name."""
        found = self._metadata.state.topics.get(COORDINATOR_TOPIC)
        if found is not None and not found.is_coordinator:
            raise outcomes.coordinator_name_taken(COORDINATOR_TOPIC)

    async def _place(
        self,
        candidates: Candidates,
        partitions: int,
        factor: int,
        command: Callable[[list[list[str]]], Command],
        deadline: float,
    ) -> TopicEntry:
        """Propose new partitions with their replicas placed, and give their leaders time."""
        placed = place_in(
            self._metadata.state, candidates.racks, partitions=partitions, replication_factor=factor
        )
        left = deadline - asyncio.get_running_loop().time()
        with self._room.held(self._metadata.state, placed, candidates.limits):
            topic = await self._propose(command(placed), left)
        left = deadline - asyncio.get_running_loop().time()
        await self._wait_leaders(topic, min(left, LEADERS_WAIT_S))
        return topic

    async def alter(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicEntry:
        """Change some of the configuration."""

        def judge() -> TopicEntry:
            found = self.find(name)
            changed_config(found.config, changes)
            return found

        topic = await self._confirmed(judge, timeout_s)
        return await self._propose(AlterTopic(name, topic.topic_id, changes), timeout_s)

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicEntry:
        """Set the replication factor; the moves for it are planned from that."""
        topic = await self._confirmed(lambda: self.find(name), timeout_s)
        state = self._metadata.state
        there = len(state.nodes.keys() - state.draining.keys())
        if not 1 <= factor <= there:
            raise InvalidRequest(
                f"replication_factor {factor} is not possible: the cluster has {there} nodes for replicas; "
                f"use 1 to {there}",
                nodes=there,
            )
        if factor > topic.replication_factor:
            (await self._placeable()).check(factor)
        command = ChangeReplicationFactor(name, topic.topic_id, factor)
        return await self._propose(command, timeout_s)

    async def add_partitions(
        self, name: str, partitions: int, *, timeout_s: float
    ) -> tuple[TopicEntry, bool]:
        """Returns the topic with this many partitions, and whether any were added."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        await self._metadata.confirm_lead(timeout_s=timeout_s)
        topic = self.find(name)
        count = len(topic.partitions)
        if not count <= partitions <= PARTITIONS_MAX:
            raise InvalidRequest(
                f"topic {name} has {count} partitions and can have {count} to {PARTITIONS_MAX}, not "
                f"{partitions}: partitions are never taken away",
                topic=name,
                partitions=count,
            )
        if partitions == count:
            return topic, False
        self._disk.check()
        factor = topic.replication_factor
        candidates = await self._placeable()
        candidates.check(factor)
        topic_id = topic.topic_id
        changed = await self._place(
            candidates,
            partitions - count,
            factor,
            lambda placed: AddPartitions(name, topic_id, count, placed),
            deadline,
        )
        return changed, True

    async def delete(self, name: str, *, timeout_s: float) -> TopicEntry:
        """Delete the topic; returns it as it was."""
        topic = await self._confirmed(lambda: self.find(name), timeout_s)
        return await self._propose(DeleteTopic(name, topic.topic_id), timeout_s)

    async def _confirmed(self, judge: Callable[[], T], timeout_s: float) -> T:
        """The result of ``judge``; where it refuses, judge again once this node's leadership is confirmed.

        As for partitions (``node/partition/confirmed.py``): a leader unaware of being deposed has an old
        state.
        """
        try:
            return judge()
        except FloodmarkError:
            await self._metadata.confirm_lead(timeout_s=timeout_s)
            return judge()

    def _same(self, topic: TopicEntry, partitions: int, factor: int, config: TopicConfig) -> TopicEntry:
        wanted = {"partitions": partitions, "replication_factor": factor, "config": config}
        given = {
            "partitions": len(topic.partitions),
            "replication_factor": topic.replication_factor,
            "config": topic.config,
        }
        different = [field for field, value in wanted.items() if given[field] != value]
        if different:
            raise TopicExists(
                f"topic {topic.name} exists: {', '.join(_differences(wanted, given))}",
                topic=topic.name,
                different=different,
            )
        return topic

    async def _propose(self, command: Command, timeout_s: float) -> TopicEntry:
        applied = await self._metadata.propose(command, timeout_s=timeout_s)
        assert isinstance(applied, TopicEntry), "a topic's command comes to a topic or an error"
        return applied


def _differences(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """How a topic differs from what was asked for, in words: ``it has 3 partitions, not 4``."""
    for field, value in wanted.items():
        if isinstance(value, TopicConfig):
            yield from _differences(dataclasses.asdict(value), dataclasses.asdict(given[field]))
        elif value != given[field]:
            has, asked = ("none" if each is None else each for each in (given[field], value))
            if field == "partitions":
                yield f"it has {has} {'partition' if has == 1 else 'partitions'}, not {asked}"
            else:
                yield f"its {field} is {has}, not {asked}"
