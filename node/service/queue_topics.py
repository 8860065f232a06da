"""Which topic a queue is of, as this node has been told: whoever receives from a queue must be allowed to
read its topic too.

A queue keeps its topic, so what was told holds until there is another queue of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.service.at_coordinator import at_coordinator
from node.service.policy import Operation, topic
from node.service.queue_admin import ConfigOfQueue
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

KNOWN_MAX: Final = 10_000


class KnownQueue:
    """A queue's topic. ``others``: topics that its dead letters are delivered from."""

    __slots__ = ("others", "topic", "topic_id")

    def __init__(self, topic: str, topic_id: int) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.others: set[int] = set()


class QueueTopics:
    """One per service."""

    def __init__(self) -> None:
        self._known: dict[str, KnownQueue] = {}

    async def check(self, at: Service, context: RequestContext, queue: str) -> KnownQueue:
        """The queue, whose topic may be read. Raises as the policy does, and ``UnknownQueue``."""
        known = self._known.get(queue)
        if known is None or not at.may(context, Operation.READ, topic(known.topic)):
            # Nobody is refused for the topic of a queue that is gone.
            config = (await at_coordinator(at, context, ConfigOfQueue(queue=queue))).result
            known = KnownQueue(config.topic, config.topic_id)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[queue] = known
        at.authorize(context, Operation.READ, topic(known.topic))
        return known

    async def check_records(
        self, at: Service, context: RequestContext, queue: str, topic_ids: set[int]
    ) -> None:
        """Whether records of these topics may be handed out, which the queue has just delivered. Likewise."""
        known = self._known.get(queue)
        if known is not None and topic_ids <= {known.topic_id, *known.others}:
            return
        # It has delivered a dead letter, or is not the queue any more that was known.
        self._known.pop(queue, None)
        now = await self.check(at, context, queue)
        now.others |= topic_ids - {now.topic_id}
        if known is not None and known.topic_id == now.topic_id:
            now.others |= known.others

    def name_of(self, queue: str, topic_id: int) -> str | None:
        """The name of the queue's topic, if that is meant; also where the topic is gone by now."""
        known = self._known.get(queue)
        return known.topic if known is not None and known.topic_id == topic_id else None
