"""Settling deliveries by their receipts, at any node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from floodmark.errors import InvalidRequest, ReceiptExpired
from floodmark.format.names import check_name

from node.broker.queues import Action, Settled
from node.coordinator.queues import limits
from node.metadata.levels import QUEUES
from node.service import queue_receipt
from node.service.at_coordinator import at_coordinator
from node.service.policy import Operation, queue
from node.service.queue_delivery import EndDeliveries, Ending
from node.service.queue_receipt import RECEIPTS_MAX
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

DELAY_MS_MAX: Final = limits.DELAY_MS[1]
"""Of a failed delivery until the next one, and of a visibility timeout."""
REASON_CHARACTERS_MAX: Final = limits.REASON_CHARACTERS_MAX


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of one delivery. ``delay_ms``: of a failed one until the next, or the visibility
    timeout that begins now."""

    receipt: str
    action: Action
    delay_ms: int | None = None
    reason: str = ""


class EndedDelivery(msgspec.Struct, frozen=True):
    """``done``; ``already``: the same was done before; ``late``: the delivery was over."""

    receipt: str
    result: Settled


class EndedDeliveries(msgspec.Struct, frozen=True):
    """One for each receipt, in the order sent."""

    settled: list[EndedDelivery]

    @property
    def has_late(self) -> bool:
        """Whether something was not done."""
        return any(each.result is Settled.LATE for each in self.settled)


class Settlements(NamedTuple):
    """What came of receipts, and the node that leads the queue's shard."""

    ended: EndedDeliveries
    leader: str


async def settle(
    at: Service, context: RequestContext, name: str, ends: Sequence[End], *, size: int
) -> Settlements:
    """Settle deliveries of a queue, all of them in one step. ``size``: bytes that the request came in.

    Raises ``UnknownQueue``, ``InvalidRequest``; ``ReceiptExpired`` for a single one that is late.
    """
    at.authorize(context, Operation.READ, queue(name))
    at.admit(context, Operation.READ, size)
    check_name(name)
    if not ends:
        raise InvalidRequest(f"say which deliveries: 1 to {RECEIPTS_MAX} receipts")
    check_ends(ends)
    await at.check_level("a queue", QUEUES)
    asked = EndDeliveries(queue=name, endings=endings_of(at, context, name, ends))
    results, leader, _ = await at_coordinator(at, context, asked)
    if len(results) == 1 and results[0] is Settled.LATE:
        raise ReceiptExpired(
            "this delivery is over: its time was up, or another settlement came first. The record is "
            "delivered again, or was settled; nothing is to be done",
            queue=name,
            receipt=ends[0].receipt,
        )
    return Settlements(ended(ends, results), leader)


def check_ends(ends: Sequence[End]) -> None:
    """Raises ``InvalidRequest`` for what could never be done."""
    if len(ends) > RECEIPTS_MAX:
        raise InvalidRequest(f"at most {RECEIPTS_MAX} receipts in one request, not {len(ends)}")
    for each in ends:
        if each.delay_ms is not None and not 0 <= each.delay_ms <= DELAY_MS_MAX:
            raise InvalidRequest(f"a delay is 0 to {DELAY_MS_MAX} ms, not {each.delay_ms}")
        if each.action is Action.EXTEND and each.delay_ms == 0:
            raise InvalidRequest("a visibility timeout is at least 1 ms; to give a record back, nack it")
        if len(each.reason) > REASON_CHARACTERS_MAX:
            raise InvalidRequest(f"a reason has at most {REASON_CHARACTERS_MAX} characters")


def endings_of(at: Service, context: RequestContext, name: str, ends: Sequence[End]) -> list[Ending]:
    """What the receipts name. Raises ``InvalidRequest`` where one is not this principal's for this queue."""
    receipts = [each.receipt for each in ends]
    deliveries = queue_receipt.decode(receipts, name, context.principal, at.token_keys)
    return [
        Ending(*delivery.place, delivery.lease, each.action, each.delay_ms, each.reason)
        for each, delivery in zip(ends, deliveries, strict=True)
    ]


def ended(ends: Sequence[End], results: Sequence[Settled]) -> EndedDeliveries:
    """What came of each."""
    return EndedDeliveries(
        [EndedDelivery(each.receipt, result) for each, result in zip(ends, results, strict=True)]
    )
