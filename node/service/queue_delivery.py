"""Deliveries of a queue and how they end, as the leader of its shard is asked: names of deliveries, no
receipts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Self

import msgspec

from node.broker.queues import Action, Delivered, Place, Receive, Received, Settled, Settlement
from node.service.policy import Operation
from node.service.queue_request import QueueRequest
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

STEP_S: Final = 10.0
"""How long the leader may take for what it is asked, besides a wait for records."""


class Ending(msgspec.Struct, frozen=True, array_like=True):
    """A ``Settlement`` on its way between nodes."""

    topic_id: int
    partition: int
    offset: int
    lease: int
    action: Action
    delay_ms: int | None = None
    reason: str = ""

    @classmethod
    def of(cls, settlement: Settlement) -> Self:
        """As it is sent."""
        return cls(
            *settlement.place, settlement.lease, settlement.action, settlement.delay_ms, settlement.reason
        )

    def settlement(self) -> Settlement:
        """As it is meant."""
        return Settlement(
            place=Place(self.topic_id, self.partition, self.offset),
            lease=self.lease,
            action=self.action,
            delay_ms=self.delay_ms,
            reason=self.reason,
        )


class HandedOut(msgspec.Struct, frozen=True, array_like=True):
    """A ``Delivered`` on its way between nodes."""

    topic_id: int
    partition: int
    offset: int
    lease: int
    deliveries: int
    visible_ms: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    value_is_json: bool
    headers: list[tuple[str, bytes | None]] = []

    @classmethod
    def of(cls, delivered: Delivered) -> Self:
        """As it is sent."""
        return cls(
            *delivered.place,
            delivered.lease,
            delivered.deliveries,
            delivered.visible_ms,
            delivered.timestamp_ms,
            delivered.key,
            delivered.value,
            delivered.value_is_json,
            list(delivered.headers),
        )

    @property
    def size(self) -> int:
        """About how many bytes it takes up."""
        around = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + around


class HandedOver(msgspec.Struct, frozen=True):
    """A ``Received`` on its way between nodes."""

    records: list[HandedOut]
    settled: list[Settled] = []
    paused: str = ""

    @classmethod
    def of(cls, received: Received) -> Self:
        """As it is sent."""
        return cls([HandedOut.of(each) for each in received.records], list(received.settled), received.paused)


class TakeRecords(QueueRequest[HandedOver], frozen=True, kw_only=True):
    """Deliver records, and settle others before."""

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True

    worker: str
    max_records: int
    max_bytes: int
    wait_s: float
    endings: Sequence[Ending] = ()

    def is_repeatable(self) -> bool:
        """A delivery whose answer is lost times out, whoever asks again: the client, or this node."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> HandedOver:
        """See ``QueueAdmin.receive``. What an earlier leader has used up of the wait is over."""
        left = context.left_s()
        wait_s = max(0.0, min(self.wait_s, left - STEP_S))
        request = Receive(
            worker=self.worker,
            max_records=self.max_records,
            max_bytes=self.max_bytes,
            wait_s=wait_s,
            settle=[each.settlement() for each in self.endings],
        )
        return HandedOver.of(await at.broker.queues.receive(self.queue, request, timeout_s=left - wait_s))


class EndDeliveries(QueueRequest[list[Settled]], frozen=True, kw_only=True):
    """Acknowledge, fail, extend or reject deliveries."""

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True

    endings: Sequence[Ending]

    def is_repeatable(self) -> bool:
        """What names a delivery does nothing once that is over."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> list[Settled]:
        """See ``QueueAdmin.settle``."""
        settlements = [each.settlement() for each in self.endings]
        return list(await at.broker.queues.settle(self.queue, settlements, timeout_s=context.left_s()))
