"""Topics and partitions as this node knows them: found by name, and told when they are gone or others.

The metadata here may be a moment behind. So nothing is said not to be there before this node has caught up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from floodmark.errors import OutcomeUnknown, TopicDeleted, Unavailable, UnknownPartition, UnknownTopic

from node.broker import Broker, Partition, TopicInfo, TopicLimits
from node.service.topic_identity import OfTopic, WhileExists, deleted, never_was

CATCH_UP_S: Final = 2.0
K = TypeVar("K", Partition, TopicInfo, TopicLimits)


class KnownTopics:
    """One per node."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def info(self, name: str, asked_id: int | None = None) -> TopicInfo:
        """The topic, giving this node the chance to learn of one that was made a moment ago elsewhere.

        ``asked_id``: the topic that the request belongs to; no other is meant. Raises ``TopicDeleted``.
        """
        return await self._once_known(name, asked_id, lambda: self._broker.topic(name))

    async def limits(self, name: str, asked_id: int | None = None) -> TopicLimits:
        """What the topic allows, as above."""
        return await self._once_known(name, asked_id, lambda: self._broker.topic_limits(name))

    async def partition(self, topic: str, number: int, asked_id: int | None = None) -> Partition:
        """The partition, as above."""
        return await self._once_known(topic, asked_id, lambda: self._broker.partition(topic, number))

    async def _once_known(self, name: str, asked_id: int | None, ask: Callable[[], K]) -> K:
        """What the broker says, asked again when it had to catch up with the metadata first.

        Raises ``TopicDeleted`` when the topic has a higher id than ``asked_id``, and never will have this one
        again. Where it has none or a lower one, this node may be behind.
        """
        try:
            found = ask()
        except TopicDeleted:
            raise
        except (UnknownTopic, UnknownPartition):
            pass
        else:
            if asked_id is None or found.topic_id == asked_id:
                return found
            if found.topic_id > asked_id:
                raise deleted(name, asked_id, found.topic_id)
        await self._broker.catch_up(timeout_s=CATCH_UP_S)
        if asked_id is not None and (current := self._current_id(name)) != asked_id:
            if current is None or current > asked_id:
                raise deleted(name, asked_id, current)
            raise never_was(name, asked_id, current)
        return ask()

    def _current_id(self, name: str) -> int | None:
        try:
            return self._broker.topic_limits(name).topic_id
        except UnknownTopic:
            return None

    def gone(self, item: OfTopic) -> TopicDeleted | None:
        """The error when the topic of ``item`` is deleted, as far as this node knows."""
        current = self._current_id(item.topic)
        return None if current == item.topic_id else deleted(item.topic, item.topic_id, current)

    def current(self, partition: Partition) -> Partition:
        """The same partition, as this node stands to it by now: a replica here may be new, or gone.

        Raises ``TopicDeleted``.
        """
        try:
            now = self._broker.partition(partition.topic, partition.number)
            if now.topic_id == partition.topic_id:
                return now
        except UnknownTopic:
            pass
        raise deleted(partition.topic, partition.topic_id, self._current_id(partition.topic))

    def while_exists(self, item: OfTopic) -> WhileExists:
        """``async with``: what is awaited within ends with ``TopicDeleted`` once it is deleted."""
        return WhileExists(
            lambda: self.gone(item),
            lambda tell: self._broker.when_deleted(item.topic, item.topic_id, tell),
        )

    def reason(self, error: Exception, item: OfTopic) -> Exception:
        """Why a request to a replica failed: where its topic was deleted meanwhile, because of that."""
        if isinstance(error, Unavailable | OutcomeUnknown):
            return self.gone(item) or error
        return error

    async def not_found_there(self, item: OfTopic) -> TopicDeleted | None:
        """The error when another node does not know the topic of ``item``, which this one still knew."""
        await self._broker.catch_up(timeout_s=CATCH_UP_S)
        return self.gone(item)
