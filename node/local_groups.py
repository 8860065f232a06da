"""Groups at the leaders of their shards: what is asked of them, as steps on their state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

from node.broker import Commit, Committed, Position, TopicPartition
from node.coordinator.groups import offsets
from node.coordinator.groups.group import Group
from node.coordinator.lead import Step
from node.coordinator.topics_view import TopicsById

R = TypeVar("R")


class Keeper(Protocol):
    """One shard, at its leader (``coordinator/lead.py``)."""

    async def decide(self, name: str, step: Step[R], *, exclusive: bool, deadline: float) -> R:
        """The answer of a step, once what it decided is stored."""

    async def read(self, name: str, look: Callable[[Group], R], *, deadline: float) -> R:
        """What ``look`` makes of a group, which has all that was acknowledged before the call."""


class Keepers(Protocol):
    """The shards that this node leads (``coordinator/shards.py``)."""

    def lead_of(self, name: str) -> Keeper:
        """The one that keeps a group. Raises ``Unavailable``."""


class CoordinatorMaker(Protocol):
    """Makes the shards (``topics.py``)."""

    async def create_coordinator(self, *, timeout_s: float) -> None:
        """Unless they are there; only where this node leads the metadata."""


class LocalGroups:
    """Implements ``node.broker.GroupAdmin``."""

    def __init__(
        self, *, topics: CoordinatorMaker, shards: Keepers, view: TopicsById, wall_ms: Callable[[], int]
    ) -> None:
        self._topics = topics
        self._shards = shards
        self._view = view
        self._wall_ms = wall_ms

    def topic_name(self, topic_id: int) -> str | None:
        """See ``GroupAdmin``."""
        return self._view.name_of(topic_id)

    async def make_coordinator(self, *, timeout_s: float) -> None:
        """See ``GroupAdmin``."""
        await self._topics.create_coordinator(timeout_s=timeout_s)

    async def commit(self, group: str, request: Commit, *, timeout_s: float) -> Committed:
        """See ``GroupAdmin``."""
        return await self._shards.lead_of(group).decide(
            group,
            lambda found: offsets.commit(found, request, topics=self._view, now_ms=self._wall_ms()),
            exclusive=False,
            deadline=_deadline(timeout_s),
        )

    async def offsets(
        self, group: str, partitions: Collection[TopicPartition] | None, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """See ``GroupAdmin``."""

        def look(found: Group) -> Mapping[TopicPartition, Position]:
            return offsets.fetch(found, partitions, topics=self._view)

        return await self._shards.lead_of(group).read(group, look, deadline=_deadline(timeout_s))


def _deadline(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s
