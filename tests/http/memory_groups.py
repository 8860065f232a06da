"""Groups in memory, the same for all nodes: the steps are those of real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from node import outcomes
from node.coordinator import keys
from node.coordinator.groups.decision import Decision
from node.coordinator.groups.group import Group
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.steps import GroupSteps, Step
from node.coordinator.topics_view import TopicsById
from node.local_groups import LocalGroups
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC, INTERNAL_PREFIX
from node.metadata.topic_config import TopicConfig

if TYPE_CHECKING:
    from tests.http.memory_broker import MemoryBroker, MemoryCluster

R = TypeVar("R")


class MemoryCoordinator:
    """The shards, as one node sees them."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker, number: int = 0) -> None:
        self._cluster = cluster
        self._broker = broker
        self._number = number

    async def create_coordinator(self, *, timeout_s: float) -> None:
        """As a topic is made."""
        if COORDINATOR_TOPIC not in self._cluster.topics:
            await self._broker.topics.create(
                COORDINATOR_TOPIC,
                partitions=SHARDS,
                replication_factor=0,
                config=TopicConfig(),
                timeout_s=timeout_s,
            )

    def lead_of(self, name: str) -> MemoryCoordinator:
        """The group's shard, where the node leads it."""
        return self.lead(shard_of(name, SHARDS))

    def view(self, name: str) -> Group:
        """Of what is stored."""
        state = self._cluster.groups

        def keys_of() -> Iterable[bytes]:
            return [key for key in state if keys.group_of(key) == name]

        return Group.of(name, state.get, keys_of)

    async def decide(
        self, name: str, step: Callable[[Group], Decision[R]], *, deadline: float, shared: bool = False
    ) -> R:
        """At once."""
        decision = step(self.view(name))
        for key, value in decision.pairs:
            if value is None:
                self._cluster.groups.pop(key, None)
            else:
                self._cluster.groups[key] = value
        return decision.answer

    async def meet(self, name: str, step: Step[MemberAnswer], *, deadline: float) -> MemberAnswer:
        """Time does not go on here."""
        return await self.decide(name, step, deadline=deadline)

    def lead(self, number: int) -> MemoryCoordinator:
        """One shard, where the node leads it."""
        log = self._cluster.logs.get((COORDINATOR_TOPIC, number))
        if log is None or log.leader != self._broker.node_id:
            raise outcomes.not_leader(log.leader if log is not None else None)
        return MemoryCoordinator(self._cluster, self._broker, number)

    async def look_at_all(
        self, look: Callable[[Callable[[str], Group], list[str]], R], *, deadline: float
    ) -> R:
        """At once."""
        names = {keys.group_of(key) for key in self._cluster.groups}
        return look(self.view, [name for name in names if shard_of(name, SHARDS) == self._number])

    async def read(self, name: str, look: Callable[[Group], R], *, deadline: float) -> R:
        """At once."""
        return look(self.view(name))


class MemoryTopicsById:
    """The topics of the cluster in memory."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    def id_of(self, name: str) -> int | None:
        found = self._cluster.topics.get(name)
        return None if found is None else found.topic_id

    def name_of(self, topic_id: int) -> str | None:
        return next((name for name in self.names() if self.id_of(name) == topic_id), None)

    def partitions(self, topic_id: int) -> int:
        name = self.name_of(topic_id)
        return 0 if name is None else len(self._cluster.topics[name].partitions)

    def names(self) -> Iterable[str]:
        return [name for name in self._cluster.topics if not name.startswith(INTERNAL_PREFIX)]


def memory_groups(cluster: MemoryCluster, broker: MemoryBroker) -> LocalGroups:
    """As one node sees them."""
    coordinator = MemoryCoordinator(cluster, broker)
    view: TopicsById = MemoryTopicsById(cluster)
    steps = GroupSteps(topics=view, wall_ms=lambda: 1_000, limits=GroupLimits(), retention_ms=1_000)
    return LocalGroups(topics=coordinator, shards=coordinator, view=view, steps=steps)
