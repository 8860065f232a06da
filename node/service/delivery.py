"""Records that queues deliver later: whether a produce may ask for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.errors import InvalidRequest
from floodmark.format.batch import BatchHeader
from floodmark.format.delivery import DELIVER_AT_MAX

from node.metadata.levels import QUEUES

if TYPE_CHECKING:
    from node.service.service import Service


async def check_deliver_at(service: Service, deliver_at_ms: int, topic: str, topic_id: int | None) -> None:
    """Raises ``FeatureLevelNeeded``; ``InvalidRequest`` for a time at which the topic may keep the records no
    more. ``UnknownTopic``."""
    await service.check_level("a delay", QUEUES)
    if not 0 <= deliver_at_ms <= DELIVER_AT_MAX:
        raise InvalidRequest("records are delivered between the years 1970 and 9999: choose another delay")
    limits = await service.topics.limits(topic, topic_id)
    if limits.retention_ms is None:
        return
    delay_ms = deliver_at_ms - service.wall_ms()
    if delay_ms > limits.retention_ms:
        raise InvalidRequest(
            f"topic {topic} keeps records for {limits.retention_ms} ms, which a delay of {delay_ms} ms would "
            "outlast: choose a shorter one, or raise retention_ms"
        )


def check_can_wait(header: BatchHeader) -> None:
    """Raises ``InvalidRequest`` for a batch that can have no such time."""
    if header.format == 1:
        raise InvalidRequest("a delay goes with a record batch of format 2, not with one of format 1")
