"""Moves of replicas to other nodes: list, begin and undo them. Kafka calls them reassignments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from node.broker import MoveInfo, MoveWanted
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

REPLICAS_MAX: Final = 100
PARTITIONS_MAX: Final = 10_000


class Reassignments(msgspec.Struct, frozen=True):
    """Moves that are queued or under way."""

    reassignments: list[MoveInfo]


class Sizes(msgspec.Struct, frozen=True):
    """Bytes of partitions, by the number of their Raft group."""

    sizes: dict[str, int]


class WantedMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a partition's replicas are to go, the preferred leader first; null undoes what is under way."""

    topic: str
    partition: Annotated[int, msgspec.Meta(ge=0)]
    replicas: Annotated[list[str], msgspec.Meta(min_length=1, max_length=REPLICAS_MAX)] | None


Moves = Annotated[list[WantedMove], msgspec.Meta(min_length=1, max_length=PARTITIONS_MAX)]


class MoveReplicas(Request[Reassignments], frozen=True, kw_only=True):
    """Move replicas to other nodes, all or none; the moves proceed in the background."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    moves: Moves

    async def execute(self, at: Service, context: RequestContext) -> Reassignments:
        """See ``Broker.moves.move``."""
        wanted = [MoveWanted(item.topic, item.partition, item.replicas) for item in self.moves]
        return Reassignments(await at.broker.moves.move(wanted, timeout_s=context.left_s()))


class ListMoves(Request[Reassignments], frozen=True, kw_only=True):
    """All moves queued or under way; with ``led_here`` only those of partitions led by the asked node."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    led_here: bool = False

    async def execute(self, at: Service, context: RequestContext) -> Reassignments:
        """Raises ``Unavailable`` where this node's view is known to be outdated."""
        at.broker.check_current()
        if self.led_here:
            return Reassignments(await at.broker.moves.led_here())
        return Reassignments(await at.broker.moves.everywhere(timeout_s=context.left_s()))


class DescribeSizes(Request[Sizes], frozen=True, kw_only=True):
    """The sizes of the partitions that the asked node leads."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> Sizes:  # noqa: ARG002
        """Asks nobody."""
        return Sizes({str(group): size for group, size in at.broker.moves.sizes_led_here().items()})
