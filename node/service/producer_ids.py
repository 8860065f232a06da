"""Ids and epochs for producers: the metadata's leader allocates them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.limits import PRODUCER_EPOCH_MAX, PRODUCER_ID_MAX

from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service


class ProducerNumber(msgspec.Struct, frozen=True):
    """A producer's new id and epoch."""

    producer_id: int
    producer_epoch: int


class InitProducerId(Request[ProducerNumber], frozen=True, kw_only=True):
    """A new id at epoch 0; or, for an id and its epoch, the ones that follow."""

    operation: ClassVar[Operation] = Operation.WRITE
    at_metadata_leader: ClassVar[bool] = True

    producer_id: int | None = None
    producer_epoch: int | None = None

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        number, epoch = self.producer_id, self.producer_epoch
        if number is None and epoch is None:
            return
        if number is None or epoch is None:
            raise InvalidRequest("producer_id and producer_epoch go together; leave out both for a new id")
        if not 1 <= number <= PRODUCER_ID_MAX:
            raise InvalidRequest(f"producer_id is 1 to {PRODUCER_ID_MAX}, not {number}")
        if not 0 <= epoch <= PRODUCER_EPOCH_MAX:
            raise InvalidRequest(f"producer_epoch is 0 to {PRODUCER_EPOCH_MAX}, not {epoch}")

    async def execute(self, at: Service, context: RequestContext) -> ProducerNumber:
        """See ``Broker.producers.new`` and ``Broker.producers.next_epoch``."""
        number, epoch, left = self.producer_id, self.producer_epoch, context.left_s()
        if number is None or epoch is None:
            return ProducerNumber(*await at.broker.producers.new(timeout_s=left))
        return ProducerNumber(*await at.broker.producers.next_epoch(number, epoch, timeout_s=left))
