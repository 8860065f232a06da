"""The positions that a partition keeps of groups: how far each has processed its source, and who goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name
from floodmark.format.position import Position, Source

from node.broker import SourcePosition
from node.metadata.levels import GROUPS, MOVED_POSITIONS
from node.service import policy
from node.service.leaders import Leader
from node.service.policy import Operation, Resource
from node.service.request_context import RequestContext
from node.service.requests import R, Request
from node.service.router import Ask, at_leader

if TYPE_CHECKING:
    from node.service.service import Service

EPOCH_MAX: Final = (1 << 32) - 1
"""Of a producer, as batches carry it."""


class SourcePositions(msgspec.Struct, frozen=True):
    """What one partition keeps of one group, in order of topic id and partition."""

    group: str
    partition: int
    positions: list[SourcePosition]


class BegunEpoch(msgspec.Struct, frozen=True):
    """The epoch that goes on, and from where."""

    group: str
    topic_id: int
    partition: int
    next_offset: int | None
    producer_epoch: int


class _OfPartition(Request[R], frozen=True, kw_only=True):
    """``topic`` and ``number``: of the partition that keeps the positions."""

    needs_level: ClassVar[int] = GROUPS
    of_group: ClassVar[Operation] = Operation.READ

    topic: str
    number: int
    group: str
    topic_id: int | None = None

    def resource(self) -> Resource:
        """The topic; the group is asked for as well."""
        return policy.topic(self.topic)

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_name(self.topic)
        check_name(self.group)

    async def _at_leader(self, at: Service, context: RequestContext, ask: Ask[R]) -> R:
        at.authorize(context, self.of_group, policy.group(self.group))
        partition = await at.topics.partition(self.topic, self.number, self.topic_id)
        # To ask the next leader again does no harm.
        answer, _ = await at_leader(
            at, partition, ask, timeout_s=context.left_s(), is_recognised=lambda: True
        )
        return answer


class ListPositions(_OfPartition[SourcePositions], frozen=True, kw_only=True):
    """A group's positions in one partition, as its leader has them."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> SourcePositions:
        """Raises ``UnknownTopic``, ``UnknownPartition``, ``Unavailable``."""

        async def look(leader: Leader, left_s: float) -> SourcePositions:
            found = await leader.positions(self.group, timeout_s=left_s)
            return SourcePositions(self.group, self.number, found)

        return await self._at_leader(at, context, look)


class BeginEpoch(_OfPartition[BegunEpoch], frozen=True, kw_only=True):
    """Take over a source: from now on no producer of an earlier epoch stores a position in it.

    ``producer``: the id of the one that goes on; empty for whoever stores first in the new epoch.
    """

    operation: ClassVar[Operation] = Operation.WRITE

    source_topic_id: int
    source_partition: int
    producer: bytes = b""

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        super().check()
        self._source.check()

    @property
    def _source(self) -> Source:
        return Source(self.group, self.source_topic_id, self.source_partition)

    async def execute(self, at: Service, context: RequestContext) -> BegunEpoch:
        """Raises likewise, ``TooManyPositions``, and ``OutcomeUnknown``: then ask again."""

        async def begin(leader: Leader, left_s: float) -> BegunEpoch:
            begun = await leader.begin_epoch(self._source, self.producer, timeout_s=left_s)
            return BegunEpoch(*self._source, begun.next_offset, begun.producer_epoch)

        return await self._at_leader(at, context, begin)


class MovePosition(_OfPartition[BegunEpoch], frozen=True, kw_only=True):
    """Move the position of a source without records: nothing was made of what is before it.

    By the same rules as a position that comes with a batch; ``producer``: the id of the one that goes on.
    """

    needs_level: ClassVar[int] = MOVED_POSITIONS
    operation: ClassVar[Operation] = Operation.WRITE

    position: Position
    producer: bytes
    producer_epoch: int

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        super().check()
        self.position.check()
        if not 0 <= self.producer_epoch <= EPOCH_MAX:
            raise InvalidRequest(f"producer_epoch is 0 to {EPOCH_MAX}, not {self.producer_epoch}")

    async def execute(self, at: Service, context: RequestContext) -> BegunEpoch:
        """Raises ``ProducerFenced``, ``PositionConflict``, and as ``BeginEpoch``."""

        async def move(leader: Leader, left_s: float) -> BegunEpoch:
            await leader.move_position(self.position, self.producer_epoch, self.producer, timeout_s=left_s)
            return BegunEpoch(*self.position, self.producer_epoch)

        return await self._at_leader(at, context, move)


class RemovePositions(_OfPartition[None], frozen=True, kw_only=True):
    """Forget how far a group has got, and its epochs: for groups that are gone."""

    operation: ClassVar[Operation] = Operation.WRITE
    of_group: ClassVar[Operation] = Operation.DELETE

    def is_told(self) -> bool:
        """A program that goes on afterwards begins again."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> None:
        """Raises as ``BeginEpoch``."""

        async def remove(leader: Leader, left_s: float) -> None:
            await leader.remove_positions(self.group, timeout_s=left_s)

        await self._at_leader(at, context, remove)
