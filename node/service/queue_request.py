"""What all requests about one queue have in common: the node that leads the queue's shard executes them."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from floodmark.errors import UnknownQueue
from floodmark.format.names import check_name

from node.metadata.levels import QUEUES
from node.service.coordinator_request import CoordinatorRequest
from node.service.policy import Resource, queue

R = TypeVar("R")


class QueueRequest(CoordinatorRequest[R], Generic[R], frozen=True, kw_only=True):
    """``execute`` runs where ``at.broker.queues`` leads the queue's shard."""

    needs_level: ClassVar[int] = QUEUES

    queue: str

    def kept_as(self) -> str:
        """The queue's name."""
        return self.queue

    def resource(self) -> Resource:
        """The queue."""
        return queue(self.queue)

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_name(self.queue)

    def of_none(self) -> R:
        """Raises ``UnknownQueue``."""
        raise unknown_queue(self.queue)


def unknown_queue(name: str) -> UnknownQueue:
    """There is none of this name."""
    return UnknownQueue(f"there is no queue {name}: make it with PUT /v1/queues/{name}", queue=name)
