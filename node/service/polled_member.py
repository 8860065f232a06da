"""A group's member that lives from call to call: what it says to the coordinator of its group."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from floodmark.errors import FencedMemberEpoch, FloodmarkError

from node.service.at_coordinator import at_coordinator
from node.service.group_members import AssignedPartition, HeartbeatGroup, JoinGroup, LeaveGroup, MemberState
from node.service.group_offsets import CommitOffsets, FetchOffsets, OffsetOf, PartitionOf
from node.service.group_request import GroupRequest
from node.service.group_token import NO_POSITION, Place
from node.service.request_context import RequestContext
from node.service.requests import R

if TYPE_CHECKING:
    from node.service.service import Service

SESSION_MS: Final = 30_000
REBALANCE_MS: Final = 60_000
_STEP_S: Final = 10.0
"""How long the coordinator may take for one thing that a call asks of it."""
_HEARTBEAT_S: Final = 3.0
"""While a call waits."""
_EAGER_S: Final = 0.5
"""While it waits for partitions that others have yet to give up."""
_FRESH_S: Final = 1.0
_GIVE_UP_S: Final = 1.0
PartitionKey = tuple[int, int]
"""Topic id and partition."""


class PolledMember:
    """It has no id before it has joined, or its token has said which it is."""

    def __init__(self, service: Service, context: RequestContext, group: str, topics: Sequence[str]) -> None:
        self._service = service
        self._context = context
        self._group = group
        self._topics = tuple(topics)
        self.id = ""
        self.epoch = 0
        self._beaten_at = 0.0
        self._beat_s = _HEARTBEAT_S

    @property
    def due_s(self) -> float:
        """Seconds until its next heartbeat; 0 where that is due."""
        return max(0.0, self._beaten_at + self._beat_s - time.monotonic())

    async def join(self) -> MemberState:
        """As a new member."""
        self.id = uuid.uuid4().hex
        state = await self._ask(
            JoinGroup(
                group=self._group,
                member_id=self.id,
                topics=self._topics,
                session_timeout_ms=SESSION_MS,
                rebalance_timeout_ms=REBALANCE_MS,
                client_id=self._context.client_id[:255],
                address=self._context.address,
            )
        )
        self._learn(state)
        return state

    async def beat(self, owned: Iterable[PartitionKey]) -> MemberState:
        """Say that it lives, and what it has."""
        state = await self._say(sorted(owned))
        self._learn(state)
        return state

    async def refresh(self) -> None:
        """Have its session begin again, unless that was a moment ago. What the group says is for the next
        call: until then the member holds what it has."""
        if time.monotonic() > self._beaten_at + _FRESH_S:
            await self._say(None)

    def _learn(self, state: MemberState) -> None:
        self.epoch = state.member_epoch
        self._beaten_at = time.monotonic()
        self._beat_s = _EAGER_S if state.waiting else _HEARTBEAT_S

    async def _say(self, owned: list[PartitionKey] | None) -> MemberState:
        """A heartbeat. An older token than the last one may come again: its epoch is not the member's any
        more, but the member is the same, and what it may commit is judged by the token's epoch."""
        said = HeartbeatGroup(
            group=self._group, member_id=self.id, epoch=self.epoch, owned=owned, topics=self._topics
        )
        try:
            return await self._ask(said)
        except FencedMemberEpoch as error:
            epoch = error.fields.get("epoch")
            if not isinstance(epoch, int) or epoch <= 0:
                raise
            return await self._ask(msgspec.structs.replace(said, epoch=epoch))

    async def commit(self, places: Iterable[Place]) -> None:
        """All records before these places are done with; topics that are gone are passed over."""
        names = self._service.broker.groups
        done = [
            OffsetOf(topic=name, partition=place.partition, offset=place.offset, topic_id=place.topic_id)
            for place in places
            if place.offset != NO_POSITION and (name := names.topic_name(place.topic_id)) is not None
        ]
        if done:
            await self._ask(
                CommitOffsets(
                    group=self._group, member_id=self.id, epoch=self.epoch, offsets=done, partial=True
                )
            )

    async def committed(self, partitions: Iterable[AssignedPartition]) -> dict[PartitionKey, int]:
        """The group's offsets in those of them that have one."""
        asked = [PartitionOf(one.topic, one.partition, one.topic_id) for one in partitions]
        found = await self._ask(FetchOffsets(group=self._group, partitions=asked))
        return {(each.topic_id, each.partition): each.offset for each in found.offsets}

    async def leave(self) -> None:
        """Others get what it has."""
        await self._ask(LeaveGroup(group=self._group, member_id=self.id, epoch=None))

    async def give_up(self) -> None:
        """Likewise, if that can be said soon; else others get it when its session is over."""
        with contextlib.suppress(FloodmarkError):
            leave = LeaveGroup(group=self._group, member_id=self.id, epoch=None)
            await _result(self._service, self._context.within(_GIVE_UP_S), leave)

    def _ask(self, request: GroupRequest[R]) -> Awaitable[R]:
        return _result(self._service, self._context.within(_STEP_S), request)


async def _result(service: Service, context: RequestContext, request: GroupRequest[R]) -> R:
    return (await at_coordinator(service, context, request)).result
