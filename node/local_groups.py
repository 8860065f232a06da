"""Groups at the leaders of their shards: what is asked of them, as steps on their state."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from floodmark.errors import UnknownGroup

from node.broker import (
    Commit,
    Committed,
    Granted,
    GroupInfo,
    GroupListed,
    GroupMemberInfo,
    Heartbeat,
    Join,
    Leave,
    MemberAnswer,
    Position,
    Reset,
    TopicPartition,
)
from node.coordinator.groups import offsets
from node.coordinator.groups.current import Current
from node.coordinator.groups.group import Group
from node.coordinator.groups.limits import PARTITIONS_PER_STEP
from node.coordinator.steps import GroupSteps, Step
from node.coordinator.topics_view import TopicsById
from node.coordinator.values import CONSUMER

EMPTY: Final = "empty"
STABLE: Final = "stable"
RECONCILING: Final = "reconciling"
R = TypeVar("R")


class Keeper(Protocol):
    """One shard, at its leader (``coordinator/lead.py``)."""

    async def decide(self, name: str, step: Step[R], *, deadline: float, shared: bool = False) -> R:
        """The answer of a step, once what it decided is stored."""

    async def meet(self, name: str, step: Step[MemberAnswer], *, deadline: float) -> MemberAnswer:
        """Likewise for a member that joins or sends a heartbeat: its time begins again."""

    async def read(self, name: str, look: Callable[[Group], R], *, deadline: float) -> R:
        """What ``look`` makes of a group, which has all that was acknowledged before the call."""

    async def look_at_all(
        self, look: Callable[[Callable[[str], Group], list[str]], R], *, deadline: float
    ) -> R:
        """Likewise of all groups: ``look`` gets what gives one of them, and their names."""


class Keepers(Protocol):
    """The shards that this node leads (``coordinator/shards.py``)."""

    def lead_of(self, name: str) -> Keeper:
        """The one that keeps a group. Raises ``Unavailable``."""

    def lead(self, number: int) -> Keeper:
        """The one of this number. Raises ``Unavailable``."""


class CoordinatorMaker(Protocol):
    """Makes the shards (``topics.py``)."""

    async def create_coordinator(self, *, timeout_s: float) -> None:
        """Unless they are there; only where this node leads the metadata."""


class LocalGroups:
    """Implements ``node.broker.GroupAdmin``."""

    def __init__(
        self, *, topics: CoordinatorMaker, shards: Keepers, view: TopicsById, steps: GroupSteps
    ) -> None:
        self._topics = topics
        self._shards = shards
        self._view = view
        self._steps = steps

    def topic_name(self, topic_id: int) -> str | None:
        """See ``GroupAdmin``."""
        return self._view.name_of(topic_id)

    async def make_coordinator(self, *, timeout_s: float) -> None:
        """See ``GroupAdmin``."""
        await self._topics.create_coordinator(timeout_s=timeout_s)

    async def join(self, group: str, request: Join, *, timeout_s: float) -> MemberAnswer:
        """See ``GroupAdmin``."""
        return await self._meet(group, self._steps.join(request), timeout_s)

    async def heartbeat(self, group: str, request: Heartbeat, *, timeout_s: float) -> MemberAnswer:
        """See ``GroupAdmin``."""
        return await self._meet(group, self._steps.heartbeat(request), timeout_s)

    async def leave(self, group: str, request: Leave, *, timeout_s: float) -> None:
        """See ``GroupAdmin``."""
        await self._decide(group, self._steps.leave(request), timeout_s)

    async def commit(self, group: str, request: Commit, *, timeout_s: float) -> Committed:
        """See ``GroupAdmin``."""
        return await self._decide(group, self._steps.commit(request), timeout_s, shared=True)

    async def offsets(
        self, group: str, partitions: Collection[TopicPartition] | None, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """See ``GroupAdmin``."""

        def look(found: Group) -> Mapping[TopicPartition, Position]:
            return offsets.fetch(found, partitions, topics=self._view)

        return await self._shards.lead_of(group).read(group, look, deadline=_deadline(timeout_s))

    async def reset(
        self, group: str, request: Reset, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """See ``GroupAdmin``."""
        return await self._decide(group, self._steps.reset(request), timeout_s)

    async def delete_offsets(
        self, group: str, partitions: Sequence[TopicPartition], *, timeout_s: float
    ) -> Sequence[TopicPartition]:
        """See ``GroupAdmin``."""
        deadline = _deadline(timeout_s)
        there: list[TopicPartition] = []
        for begin in range(0, len(partitions), PARTITIONS_PER_STEP):
            step = self._steps.delete_offsets(partitions[begin : begin + PARTITIONS_PER_STEP])
            found = await self._shards.lead_of(group).decide(group, step, deadline=deadline)
            there += found
        return there

    async def delete(self, group: str, *, timeout_s: float) -> None:
        """See ``GroupAdmin``."""
        deadline = _deadline(timeout_s)
        while (await self._shards.lead_of(group).decide(group, self._steps.delete(), deadline=deadline)).more:
            continue

    async def describe(self, group: str, *, timeout_s: float) -> GroupInfo:
        """See ``GroupAdmin``."""
        return await self._shards.lead_of(group).read(group, _described, deadline=_deadline(timeout_s))

    async def page(
        self, shard: int, *, prefix: str, after: str, limit: int, timeout_s: float
    ) -> Sequence[GroupListed]:
        """See ``GroupAdmin``."""

        def look(view: Callable[[str], Group], names: list[str]) -> list[GroupListed]:
            wanted = (name for name in names if name.startswith(prefix) and name > after)
            return [_listed(view(name)) for name in heapq.nsmallest(limit, wanted)]

        return await self._shards.lead(shard).look_at_all(look, deadline=_deadline(timeout_s))

    async def _decide(self, group: str, step: Step[R], timeout_s: float, *, shared: bool = False) -> R:
        return await self._shards.lead_of(group).decide(
            group, step, deadline=_deadline(timeout_s), shared=shared
        )

    async def _meet(self, group: str, step: Step[MemberAnswer], timeout_s: float) -> MemberAnswer:
        return await self._shards.lead_of(group).meet(group, step, deadline=_deadline(timeout_s))


def _deadline(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s


def _listed(group: Group) -> GroupListed:
    return GroupListed(
        group=group.name, type=group.state.type, state=_state_of(group), members=len(group.members)
    )


def _described(group: Group) -> GroupInfo:
    if not group:
        raise UnknownGroup(f"there is no group {group.name}", group=group.name)
    members = []
    for member_id, member in sorted(group.members.items()):
        current = group.currents.get(member_id) or Current()
        target = group.targets.get(member_id, frozenset())
        members.append(
            GroupMemberInfo(
                member_id=member_id,
                epoch=current.epoch,
                instance_id=member.instance_id,
                client_id=member.client_id,
                address=member.address,
                topics=member.topics,
                pattern=member.pattern,
                session_timeout_ms=member.session_timeout_ms,
                owned=[Granted(*at, epoch) for at, epoch in sorted(current.owned.items())],
                target=[Granted(*at, 0) for at in sorted(target)],
            )
        )
    return GroupInfo(
        group=group.name,
        type=group.state.type,
        state=_state_of(group),
        epoch=group.epoch,
        assignor=group.state.assignor,
        members=members,
    )


def _state_of(group: Group) -> str:
    if not group.members:
        return EMPTY
    if group.state.type != CONSUMER:
        return group.state.state
    for member_id in group.members:
        current = group.currents.get(member_id)
        target = group.targets.get(member_id, frozenset())
        if current is None or current.revoking or current.owned.keys() != target:
            return RECONCILING
    return STABLE
