"""Topics as any node knows them: describe, list. Changes are in topic_changes.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.format.names import check_name

from node.broker import Broker, TopicInfo
from node.service.policy import Operation, Resource, topic
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.topic_description import TopicDescription, described

if TYPE_CHECKING:
    from node.service.service import Service

PAGE: Final = 100
PAGE_MAX: Final = 1_000
PARTITIONS_AT_ONCE: Final = 100
"""Partitions handled per turn of the event loop; those of one topic are never split."""
_DESCRIBE_S: Final = 1.0


class TopicList(msgspec.Struct, frozen=True):
    """A page of topics, in order of name."""

    topics: list[TopicDescription]


class DescribeTopic(Request[TopicDescription], frozen=True, kw_only=True):
    """A topic, each partition as its leader sees it; with ``own_view`` as the asked node sees it."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    topic: str
    topic_id: int | None = None
    own_view: bool = False

    def resource(self) -> Resource:
        """The topic."""
        return topic(self.topic)

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_name(self.topic)

    async def execute(self, at: Service, context: RequestContext) -> TopicDescription:  # noqa: ARG002
        """Raises ``UnknownTopic``, ``TopicDeleted``."""
        if self.topic_id is not None:  # No other node is asked, though it might know better.
            await at.broker.catch_up(timeout_s=_DESCRIBE_S)
        found = await at.topics.info(self.topic, self.topic_id)
        if not self.own_view:
            found = await at.broker.topics.describe(found.name, timeout_s=_DESCRIBE_S)
        return described(found, at.broker.batch_format)


class ListTopics(Request[TopicList], frozen=True, kw_only=True):
    """Topics in order of name, as far as they may be described: so many that begin with ``prefix``.

    The next page begins behind ``after``, the name of the last one.
    """

    operation: ClassVar[Operation] = Operation.DESCRIBE

    prefix: str = ""
    after: str = ""
    limit: int = PAGE

    def resource(self) -> None:
        """Each topic is authorized on its own."""

    def check(self) -> None:
        """Raises ``InvalidName``."""
        for text in (self.prefix, self.after):
            if text:
                check_name(text if text.strip(".") else f"{text}a")

    async def execute(self, at: Service, context: RequestContext) -> TopicList:
        """At most ``PAGE_MAX``. Raises ``Unavailable`` where this node's view is known to be outdated."""
        at.broker.check_current()
        found: list[TopicDescription] = []
        limit = min(self.limit, PAGE_MAX)
        async for info in all_topics(at.broker, prefix=self.prefix, after=self.after):
            if at.may(context, Operation.DESCRIBE, topic(info.name)):
                found.append(described(info, at.broker.batch_format))
            if len(found) == limit:
                break
        return TopicList(found)


async def all_topics(broker: Broker, *, prefix: str = "", after: str = "") -> AsyncIterator[TopicInfo]:
    """All topics in order of name, with a turn of the event loop for others between some of them."""
    limit = 1
    while page := broker.topics.page(prefix=prefix, after=after, limit=limit):
        for info in page:
            yield info
        after = page[-1].name
        largest = max(len(info.partitions) for info in page)
        limit = max(1, PARTITIONS_AT_ONCE // largest)
        await asyncio.sleep(0)
