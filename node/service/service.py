"""The service: what every door asks of a node. It knows no protocol.

What a request means is decided here, at the node where it arrived: which topic it belongs to, who leads its
partitions, and what its answer may hold of this node's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from floodmark.errors import (
    FeatureLevelNeeded,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    TopicDeleted,
    Unauthorized,
    Unavailable,
    UnknownPartition,
    UnknownTopic,
)

from node.broker import Broker, Partition, TopicInfo, TopicLimits
from node.request_limits import RequestLimits
from node.service import unpacking
from node.service.answer_budget import AnswerBudget
from node.service.inside_line import InsideLine
from node.service.loop_share import PAGE_TURN_BYTES, LoopShare
from node.service.metadata_leader import at_metadata_leader
from node.service.policy import Operation, Policy, Resource
from node.service.request_context import RequestContext
from node.service.requests import Request, Served
from node.service.topic_identity import OfTopic, WhileExists, deleted, never_was
from node.service.watches import Watches

_CATCH_UP_S: Final = 2.0
T = TypeVar("T")
R = TypeVar("R")


class Service:
    """One per node. ``inside``: how it asks the other nodes. ``policy``: who may do what, and how much."""

    def __init__(self, broker: Broker, limits: RequestLimits, inside: InsideLine, policy: Policy) -> None:
        self.broker = broker
        self.limits = limits
        self.inside = inside
        self._policy = policy
        self.draining = asyncio.Event()
        """Set when the node stops: what waits ends by itself then."""
        self.answers = AnswerBudget(limits.responses_bytes_max)
        self.pages = LoopShare(PAGE_TURN_BYTES)
        """Records on their way into answers, a slice of each answer in turn."""
        self.unpacking = asyncio.Semaphore(unpacking.AT_ONCE)
        """For large batches: only so many are decompressed at a time."""
        self.watches = Watches(self)

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Before anything is told of ``resource`` or done to it: once for each request and resource.

        Raises ``Unauthorized``, ``Forbidden``, or ``UnknownTopic`` for what may not even be described.
        """
        self._policy.authorize(context, operation, resource)

    def may(self, context: RequestContext, operation: Operation, resource: Resource) -> bool:
        """Whether it is allowed: for lists, which leave out what is not."""
        try:
            self._policy.authorize(context, operation, resource)
        except (Unauthorized, Forbidden, NotFound):
            return False
        return True

    def admit(self, context: RequestContext, operation: Operation, size: int) -> None:
        """Count a request of ``size`` bytes against the principal's quota. Raises ``TooManyRequests``."""
        self._policy.admit(context, operation, size)

    async def ask(self, context: RequestContext, request: Request[R], *, size: int = 0) -> Served[R]:
        """The way of every request: authorize, quota, validate, route, execute.

        ``size``: bytes that it came in. ``context`` has a deadline. It was judged here, where it arrived: the
        node that executes it does not judge it again.
        """
        resource = request.resource()
        if resource is not None:
            self.authorize(context, request.operation, resource)
        self.admit(context, request.operation, size)
        request.check()
        if request.at_metadata_leader:
            return await at_metadata_leader(self, context, request)
        return Served(await request.execute(self, context), self.broker.node_id)

    async def topic(self, name: str, asked_id: int | None = None) -> TopicInfo:
        """The topic, giving this node the chance to learn of one that was made a moment ago elsewhere.

        ``asked_id``: the topic that the request belongs to; no other is meant. Raises ``TopicDeleted``.
        """
        return await self._once_known(name, asked_id, lambda: self.broker.topic(name))

    async def topic_limits(self, name: str, asked_id: int | None = None) -> TopicLimits:
        """What the topic allows, as above."""
        return await self._once_known(name, asked_id, lambda: self.broker.topic_limits(name))

    async def partition(self, topic: str, number: int, asked_id: int | None = None) -> Partition:
        """The partition, as above."""
        return await self._once_known(topic, asked_id, lambda: self.broker.partition(topic, number))

    async def _once_known(self, name: str, asked_id: int | None, ask: Callable[[], T]) -> T:
        """What the broker says, asked again when it had to catch up with the metadata first."""
        try:
            if asked_id is None or self._is_current(name, asked_id):
                return ask()
        except TopicDeleted:
            raise
        except (UnknownTopic, UnknownPartition):
            pass
        await self.broker.catch_up(timeout_s=_CATCH_UP_S)
        if asked_id is not None and not self._is_current(name, asked_id):
            current = self._current_id(name)
            raise deleted(name, asked_id, None) if current is None else never_was(name, asked_id, current)
        return ask()

    async def once_level_known(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What it comes to, asked again where the cluster was raised to a higher feature level meanwhile.

        ``FeatureLevelNeeded`` says that nothing was stored; it is raised once that is certain.
        """
        known = self.broker.batch_format
        try:
            return await ask()
        except FeatureLevelNeeded:
            await self.broker.catch_up(timeout_s=_CATCH_UP_S)
            if self.broker.batch_format == known:
                raise
            return await ask()

    def _is_current(self, name: str, topic_id: int) -> bool:
        """Whether the topic has this id. False when it has none or a lower one: this node may be behind.

        Raises ``TopicDeleted`` when it has a higher one, and never will have this one again.
        """
        current = self._current_id(name)
        if current is not None and current > topic_id:
            raise deleted(name, topic_id, current)
        return current == topic_id

    def _current_id(self, name: str) -> int | None:
        try:
            return self.broker.topic_limits(name).topic_id
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
        error = self.gone(partition)
        if error is not None:
            raise error
        return self.broker.partition(partition.topic, partition.number)

    def while_exists(self, item: OfTopic, *, grace_s: float = 0.0) -> WhileExists:
        """``async with``: what is awaited within ends with ``TopicDeleted`` once it is deleted."""
        return WhileExists(
            lambda: self.gone(item),
            lambda tell: self.broker.when_deleted(item.topic, item.topic_id, tell),
            grace_s,
        )

    def reason(self, error: Exception, item: OfTopic) -> Exception:
        """Why a request to a replica failed: where its topic was deleted meanwhile, because of that."""
        if isinstance(error, Unavailable | OutcomeUnknown):
            return self.gone(item) or error
        return error

    async def not_found_there(self, item: OfTopic) -> TopicDeleted | None:
        """The error when another node does not know the topic of ``item``, which this one still knew."""
        await self.broker.catch_up(timeout_s=_CATCH_UP_S)
        return self.gone(item)
