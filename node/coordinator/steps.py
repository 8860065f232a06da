"""The steps on groups (``groups/``), with what they need besides a group and a request."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from node.coordinator.groups import deletion, membership, offsets
from node.coordinator.groups.decision import Decision, TopicsView
from node.coordinator.groups.deletion import Removed
from node.coordinator.groups.group import Group
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.requests import (
    Commit,
    Committed,
    Heartbeat,
    Join,
    Leave,
    MemberAnswer,
    Position,
    Reset,
)
from node.coordinator.groups.sessions import Over
from node.coordinator.keys import TopicPartition

R = TypeVar("R")
Step = Callable[[Group], Decision[R]]
"""Judges a group. Raises classes of ``floodmark.errors`` to refuse."""


class GroupSteps:
    """One per node. ``wall_ms``: the time of day by which offsets age."""

    def __init__(
        self,
        *,
        topics: TopicsView,
        wall_ms: Callable[[], int],
        limits: GroupLimits,
        retention_ms: int,
    ) -> None:
        self.topics = topics
        self._wall_ms = wall_ms
        self._limits = limits
        self.retention_ms = retention_ms

    def commit(self, request: Commit) -> Step[Committed]:
        """See ``offsets.commit``."""
        return lambda group: offsets.commit(group, request, topics=self.topics, now_ms=self._wall_ms())

    def reset(self, request: Reset) -> Step[dict[TopicPartition, Position]]:
        """See ``offsets.reset``."""
        return lambda group: offsets.reset(group, request, topics=self.topics, now_ms=self._wall_ms())

    def delete_offsets(self, partitions: Collection[TopicPartition]) -> Step[tuple[TopicPartition, ...]]:
        """See ``offsets.delete``."""
        return lambda group: offsets.delete(group, partitions)

    def delete(self) -> Step[Removed]:
        """See ``deletion.delete``."""
        return deletion.delete

    def expire(self) -> Step[Removed]:
        """See ``deletion.expire``."""
        return lambda group: deletion.expire(
            group, topics=self.topics, retention_ms=self.retention_ms, now_ms=self._wall_ms()
        )

    def join(self, request: Join) -> Step[MemberAnswer]:
        """See ``membership.join``."""
        return lambda group: membership.join(
            group, request, topics=self.topics, now_ms=self._wall_ms(), limits=self._limits
        )

    def heartbeat(self, request: Heartbeat) -> Step[MemberAnswer]:
        """See ``membership.heartbeat``."""
        return lambda group: membership.heartbeat(
            group, request, topics=self.topics, now_ms=self._wall_ms(), limits=self._limits
        )

    def leave(self, request: Leave) -> Step[None]:
        """See ``membership.leave``."""
        return lambda group: membership.leave(group, request, topics=self.topics, now_ms=self._wall_ms())

    def end(self, over: Over, is_over: Callable[[], bool]) -> Step[bool]:
        """See ``membership.end``; where the member has made it in time meanwhile nothing is done."""

        def step(group: Group) -> Decision[bool]:
            if not is_over():
                return Decision([], answer=False)
            return membership.end(group, over, topics=self.topics, now_ms=self._wall_ms())

        return step

    def refresh(self) -> Step[bool]:
        """See ``membership.refresh``."""
        return lambda group: membership.refresh(group, topics=self.topics, now_ms=self._wall_ms())
