"""Queues as a whole: make and change, list, describe, purge, delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest, QueueExists, UnknownQueue, UnknownTopic
from floodmark.format.names import check_name

from node.broker import TopicLimits
from node.broker.queues import QueueConfig, QueueInfo
from node.metadata.levels import QUEUES
from node.service.at_coordinator import at_coordinator
from node.service.coordinator_request import ShardRequest
from node.service.metadata_leader import at_metadata_leader
from node.service.policy import Operation, Resource, queue, topic
from node.service.queue_request import QueueRequest
from node.service.queue_settings import DEAD_SUFFIX, QueueSettings, ShownSettings, shown
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.shard_pages import listed
from node.service.topic_changes import ConfigChanges, CreateTopic, partitions_of

if TYPE_CHECKING:
    from node.service.service import Service

PAGE: Final = 100
PAGE_MAX: Final = 1_000


class QueueProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a queue is in one partition. ``next``: all below is settled, or one of the ``unsettled``.

    ``end``: behind the partition's last record; ``lost``: what retention removed before it was settled.
    """

    partition: int
    next: int
    end: int
    unsettled: int
    lost: int


class QueueDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A queue. ``depth`` counts all records that are not settled; ``in_flight``, ``waiting`` (for another
    delivery), ``held`` (behind an earlier one of their key), ``delayed`` and ``dying`` (on their way to the
    dead letters) are parts of it."""

    queue: str
    topic_id: int
    config: ShownSettings
    created_ms: int
    depth: int
    in_flight: int
    waiting: int
    held: int
    delayed: int
    dying: int
    dead: int
    """Dead letters that are listed."""
    oldest_ms: int | None
    """When the oldest unsettled record was stored; null where there is none, or it is not known yet."""
    redelivered: int
    settled: int
    lost: int
    breaker: str
    """closed, open, half_open"""
    breaker_until_ms: int
    health: list[str]
    """Why it delivers nothing, or no dead letters."""
    partitions: list[QueueProgress]


class QueueListing(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in a list."""

    queue: str
    topic: str
    depth: int
    dead: int
    breaker: str


class QueueList(msgspec.Struct, frozen=True):
    """A page of queues, in order of name."""

    queues: list[QueueListing]


class StoredQueue(msgspec.Struct, frozen=True):
    """A queue, and whether it was made now."""

    queue: QueueDescription
    made: bool


class Purged(msgspec.Struct, frozen=True):
    """So many, about."""

    purged: int


class DescribeQueue(QueueRequest[QueueDescription], frozen=True, kw_only=True):
    """A queue with its settings and how much there is."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    def is_repeatable(self) -> bool:
        """It only reads."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> QueueDescription:
        """See ``QueueAdmin.describe``."""
        return described(await at.broker.queues.describe(self.queue, timeout_s=context.left_s()))


class StoreQueue(QueueRequest[StoredQueue], frozen=True, kw_only=True):
    """Make a queue, or give it these settings: as nodes ask for it."""

    operation: ClassVar[Operation] = Operation.CREATE
    stores: ClassVar[bool] = True
    makes_it: ClassVar[bool] = True

    config: QueueConfig

    async def execute(self, at: Service, context: RequestContext) -> StoredQueue:
        """See ``QueueAdmin.put``."""
        info, made = await at.broker.queues.put(self.queue, self.config, timeout_s=context.left_s())
        return StoredQueue(described(info), made)


class PutQueue(Request[StoredQueue], frozen=True, kw_only=True):
    """Make a queue, and the topic of its dead letters; or change its settings, as far as they are given."""

    operation: ClassVar[Operation] = Operation.CREATE
    needs_level: ClassVar[int] = QUEUES

    queue: str
    config: QueueSettings

    def resource(self) -> Resource:
        """The queue, which need not exist yet."""
        return queue(self.queue)

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """What it hands out is to be read."""
        return ((Operation.READ, topic(self.config.topic)),)

    def changes_partitions(self, at: Service) -> int:
        """Those of the topic of dead letters, where there is none of its name."""
        name = self.config.dead_letter_topic
        if name is msgspec.UNSET:
            name = self.queue + DEAD_SUFFIX
        return partitions_of(at, self.config.topic) if name and not partitions_of(at, name) else 0

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_name(self.queue)
        self.config.check()

    async def execute(self, at: Service, context: RequestContext) -> StoredQueue:
        """Raises ``QueueExists``, ``UnknownTopic``, ``TooManyQueues``, and what a topic is refused for."""
        before = await self._before(at, context)
        limits = await at.topics.limits(self.config.topic)
        dead = await self._dead_letters(at, context, before, limits)
        config = self.config.config(before, topic_id=limits.topic_id, dead=dead)
        if before is not None and config != before:
            at.authorize(context, Operation.ALTER, queue(self.queue))
        return (await at_coordinator(at, context, StoreQueue(queue=self.queue, config=config))).result

    async def _before(self, at: Service, context: RequestContext) -> QueueConfig | None:
        """The settings of the queue that is there. Raises ``QueueExists`` where these cannot be its."""
        try:
            before = (await at_coordinator(at, context, ConfigOfQueue(queue=self.queue))).result
        except UnknownQueue:
            return None
        wanted = self.config
        if wanted.topic != before.topic or wanted.ordering not in (msgspec.UNSET, before.ordering):
            raise QueueExists(
                f"queue {self.queue} is of topic {before.topic} with the ordering {before.ordering}, which "
                "stay as they are: delete the queue first, or make another one",
                queue=self.queue,
                topic=before.topic,
                ordering=before.ordering,
            )
        return before

    async def _dead_letters(
        self, at: Service, context: RequestContext, before: QueueConfig | None, limits: TopicLimits
    ) -> tuple[str, int]:
        """The name and id of the topic, which is made where it is missing, for all that the queue's topic
        has; ("", 0) for none."""
        name = self.config.dead_letter_topic
        if name is msgspec.UNSET:
            name = before.dead_letter_topic if before is not None else self.queue + DEAD_SUFFIX
        if not name:
            return "", 0
        try:
            check_name(name)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"name the dead_letter_topic: {name[:300]!r} is not a topic's name"
            ) from error
        at.authorize(context, Operation.WRITE, topic(name))
        try:
            return name, (await at.topics.limits(name)).topic_id
        except UnknownTopic:
            at.authorize(context, Operation.CREATE, topic(name))
        config = ConfigChanges(max_record_bytes=limits.max_record_bytes)
        made = await at_metadata_leader(
            at, context, CreateTopic(topic=name, partitions=limits.partitions, config=config)
        )
        return name, made.result.topic.topic_id


class ConfigOfQueue(QueueRequest[QueueConfig], frozen=True, kw_only=True):
    """The settings that a queue has, with the ids of its topics: as nodes ask for them."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    def is_repeatable(self) -> bool:
        """It only reads."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> QueueConfig:
        """See ``QueueAdmin.describe``."""
        return (await at.broker.queues.describe(self.queue, timeout_s=context.left_s())).config


class DeleteQueue(QueueRequest[None], frozen=True, kw_only=True):
    """Delete a queue, with what is not settled."""

    operation: ClassVar[Operation] = Operation.DELETE
    stores: ClassVar[bool] = True

    async def execute(self, at: Service, context: RequestContext) -> None:
        """Raises ``UnknownQueue``."""
        await at.broker.queues.delete(self.queue, timeout_s=context.left_s())


class PurgeQueue(QueueRequest[Purged], frozen=True, kw_only=True):
    """Settle all that is there now."""

    operation: ClassVar[Operation] = Operation.ALTER
    stores: ClassVar[bool] = True

    async def execute(self, at: Service, context: RequestContext) -> Purged:
        """Raises ``UnknownQueue``."""
        return Purged(await at.broker.queues.purge(self.queue, timeout_s=context.left_s()))


class ShardQueues(ShardRequest[list[QueueListing]], frozen=True, kw_only=True):
    """The queues of one shard: so many whose names begin with ``prefix``, behind ``after``."""

    operation: ClassVar[Operation] = Operation.DESCRIBE
    needs_level: ClassVar[int] = QUEUES

    prefix: str = ""
    after: str = ""
    limit: int = PAGE_MAX

    async def execute(self, at: Service, context: RequestContext) -> list[QueueListing]:
        """See ``QueueAdmin.page``."""
        found = await at.broker.queues.page(
            self.shard, prefix=self.prefix, after=self.after, limit=self.limit, timeout_s=context.left_s()
        )
        return [
            QueueListing(
                queue=each.queue, topic=each.topic, depth=each.depth, dead=each.dead, breaker=each.breaker
            )
            for each in found
        ]


class ListQueues(Request[QueueList], frozen=True, kw_only=True):
    """Queues in order of name, as far as they may be described."""

    operation: ClassVar[Operation] = Operation.DESCRIBE
    needs_level: ClassVar[int] = QUEUES

    prefix: str = ""
    after: str = ""
    limit: int = PAGE

    def resource(self) -> None:
        """Each queue is authorized on its own."""

    async def execute(self, at: Service, context: RequestContext) -> QueueList:
        """At most ``PAGE_MAX``. Raises ``Unavailable`` where a shard has no leader."""

        def of_shard(number: int, after: str, limit: int) -> ShardQueues:
            return ShardQueues(shard=number, prefix=self.prefix, after=after, limit=limit)

        def may(found: QueueListing) -> bool:
            return at.may(context, Operation.DESCRIBE, queue(found.queue))

        limit = min(self.limit, PAGE_MAX)
        return QueueList(
            await listed(at, context, of_shard, may, name=lambda it: it.queue, after=self.after, limit=limit)
        )


def described(info: QueueInfo) -> QueueDescription:
    """As users see it."""
    return QueueDescription(
        queue=info.queue,
        topic_id=info.config.topic_id,
        config=shown(info.config),
        created_ms=info.created_ms,
        depth=info.depth,
        in_flight=info.in_flight,
        waiting=info.waiting,
        held=info.held,
        delayed=info.delayed,
        dying=info.dying,
        dead=info.dead,
        oldest_ms=info.oldest_ms,
        redelivered=info.redelivered,
        settled=info.settled,
        lost=info.lost,
        breaker=info.breaker,
        breaker_until_ms=info.breaker_until_ms,
        health=list(info.health),
        partitions=[
            QueueProgress(
                partition=each.partition,
                next=each.next,
                end=each.end,
                unsettled=each.unsettled,
                lost=each.lost,
            )
            for each in info.partitions
        ],
    )
