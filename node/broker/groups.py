"""Groups of consumers: what they have committed, and who belongs to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from node.coordinator.groups.requests import Commit, Committed, Position
from node.coordinator.keys import TopicPartition

__all__ = ["Commit", "Committed", "GroupAdmin", "Position", "TopicPartition"]


class GroupAdmin(Protocol):
    """Groups, where this node leads the shards of the coordinator that keep them.

    Every method but ``make_coordinator`` raises ``Unavailable`` where this node does not lead the group's
    shard. Times are seconds.
    """

    def topic_name(self, topic_id: int) -> str | None:
        """The name of the topic with this id, if users may see one."""

    async def make_coordinator(self, *, timeout_s: float) -> None:
        """Make the coordinator's shards, unless they are there; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, StorageFull, Conflict, Unavailable.
        """

    async def commit(self, group: str, request: Commit, *, timeout_s: float) -> Committed:
        """Store offsets. Raises GroupNotEmpty, UnknownMember, FencedMemberEpoch, StaleMemberEpoch,
        UnknownTopic, TooManyGroups, InvalidRequest, Unavailable (not stored), OutcomeUnknown."""

    async def offsets(
        self, group: str, partitions: Collection[TopicPartition] | None, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """What is committed for these partitions, or for all: all that was acknowledged before the call.

        Partitions without a committed offset are left out.
        """
