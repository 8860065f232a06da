"""Members of groups: they join, say that they live and what they have, and leave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name

from node.broker import Heartbeat, Join, Leave, MemberAnswer
from node.coordinator.groups.member_checks import check_assignor, check_ids
from node.coordinator.groups.patterns import prefix_of
from node.service.group_request import GroupRequest
from node.service.policy import Operation, Resource, topic, topics
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

MEMBER_ID_MAX: Final = 255
_HEARTBEATS_IN_A_SESSION: Final = 6
_HEARTBEAT_MIN_MS: Final = 200
_HEARTBEAT_MAX_MS: Final = 3_000
_EAGER_MS: Final = 500
"""While others have yet to give up what the member waits for."""
_Text = Annotated[str, msgspec.Meta(max_length=MEMBER_ID_MAX)]
"""What is longer other nodes do not take: ``check`` refuses it where it arrived."""


class AssignedPartition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that a member has. Where ``epoch`` rises, its position is void: it begins again at the
    committed offset."""

    topic: str
    topic_id: int
    partition: int
    epoch: int


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is told: it reads the partitions of ``assignment`` and no others.

    What it had besides it gives up: it commits, and then says in a heartbeat what it still has. ``waiting``:
    partitions that it will have once others have given them up.
    """

    member_id: str
    member_epoch: int
    session_timeout_ms: int
    rebalance_timeout_ms: int
    heartbeat_interval_ms: int
    assignment: list[AssignedPartition]
    waiting: int


class JoinGroup(GroupRequest[MemberState], frozen=True, kw_only=True):
    """Become a member, under an id that nobody has had. Repeating it is harmless."""

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True
    makes_it: ClassVar[bool] = True

    member_id: _Text
    instance_id: _Text | None = None
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    assignor: _Text = ""
    session_timeout_ms: int = 45_000
    rebalance_timeout_ms: int = 300_000
    client_id: str = ""
    address: str = ""

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """Its topics are to be read, and a pattern tells of all that it ever describes."""
        if self.pattern is not None:
            yield Operation.READ, topics(prefix_of(self.pattern))
        for name in sorted(set(self.topics)):
            yield Operation.READ, topic(name)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        if not self.member_id:
            raise InvalidRequest("member_id is what the member is called: a UUID, made for this member")
        check_ids(self.member_id, self.instance_id)
        check_assignor(self.assignor)
        if not self.topics and self.pattern is None:
            raise InvalidRequest("say what to read: topics, or a pattern of their names")
        for name in self.topics:
            check_name(name)

    async def execute(self, at: Service, context: RequestContext) -> MemberState:
        """See ``GroupAdmin.join``."""
        join = Join(
            member_id=self.member_id,
            instance_id=self.instance_id,
            topics=self.topics,
            pattern=self.pattern,
            assignor=self.assignor,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            client_id=self.client_id,
            address=self.address,
        )
        return _told(at, await at.broker.groups.join(self.group, join, timeout_s=context.left_s()))


class HeartbeatGroup(GroupRequest[MemberState], frozen=True, kw_only=True):
    """A member lives. ``owned``: topic ids and partitions that it has; None where that did not change.

    ``topics`` and ``pattern`` are given where its subscription changes; an empty pattern takes it away.
    """

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True

    member_id: _Text
    epoch: int
    instance_id: _Text | None = None
    owned: list[tuple[int, int]] | None = None
    topics: tuple[str, ...] | None = None
    pattern: str | None = None

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """As for a member that joins."""
        if self.pattern:
            yield Operation.READ, topics(prefix_of(self.pattern))
        for name in sorted(set(self.topics or ())):
            yield Operation.READ, topic(name)

    def is_repeatable(self) -> bool:
        """It says what the member has in its epoch, and is refused in any other."""
        return True

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        check_ids(self.member_id, self.instance_id)
        for name in self.topics or ():
            check_name(name)

    async def execute(self, at: Service, context: RequestContext) -> MemberState:
        """See ``GroupAdmin.heartbeat``."""
        beat = Heartbeat(
            member_id=self.member_id,
            epoch=self.epoch,
            instance_id=self.instance_id,
            owned=None if self.owned is None else frozenset(self.owned),
            topics=self.topics,
            pattern=self.pattern,
        )
        return _told(at, await at.broker.groups.heartbeat(self.group, beat, timeout_s=context.left_s()))


class LeaveGroup(GroupRequest[None], frozen=True, kw_only=True):
    """A member goes: others get its partitions at once.

    Without an ``epoch`` it is removed, whatever it does. ``for_a_while``: a static member that comes back;
    what it has is kept until its session is over.
    """

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True

    member_id: _Text
    epoch: int | None = None
    instance_id: _Text | None = None
    for_a_while: bool = False

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        check_ids(self.member_id, self.instance_id)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``GroupAdmin.leave``."""
        leave = Leave(
            member_id=self.member_id,
            epoch=self.epoch,
            instance_id=self.instance_id,
            for_a_while=self.for_a_while,
        )
        await at.broker.groups.leave(self.group, leave, timeout_s=context.left_s())


def _told(at: Service, answer: MemberAnswer) -> MemberState:
    """With the names of the topics; what is of a topic that is gone is left out."""
    names = {topic_id: at.broker.groups.topic_name(topic_id) for topic_id, _, _ in answer.owned}
    interval = min(answer.session_timeout_ms // _HEARTBEATS_IN_A_SESSION, _HEARTBEAT_MAX_MS)
    if answer.waiting:
        interval = min(interval, _EAGER_MS)
    return MemberState(
        member_id=answer.member_id,
        member_epoch=answer.epoch,
        session_timeout_ms=answer.session_timeout_ms,
        rebalance_timeout_ms=answer.rebalance_timeout_ms,
        heartbeat_interval_ms=max(interval, _HEARTBEAT_MIN_MS),
        assignment=[
            AssignedPartition(topic=name, topic_id=topic_id, partition=number, epoch=epoch)
            for topic_id, number, epoch in answer.owned
            if (name := names[topic_id]) is not None
        ],
        waiting=answer.waiting,
    )
