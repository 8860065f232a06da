"""Create, describe, list, alter and delete topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from floodmark.errors import TopicExists, UnknownTopic
from floodmark.format import json_text
from floodmark.format.names import check_name
from floodmark.pin import Pin
from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.pacing import Deadline

_PAGE = 500


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One partition as the node that answered sees it; the offsets are None where it does not know them."""

    partition: int
    leader: str | None = None
    replicas: list[str] = []
    in_sync: list[str] = []
    high_watermark: int | None = None
    log_start_offset: int | None = None
    term: int | None = None
    leader_epoch: int | None = None
    """The term of ``leader``: it grows with each change of leader. None where no leader is known."""


class TopicConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A topic's settings; None means that there is no such limit."""

    retention_ms: int | None = None
    retention_bytes: int | None = None
    max_record_bytes: int = 1 << 20
    segment_bytes: int | None = None


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic."""

    name: str = msgspec.field(name="topic")
    topic_id: int
    """Never given twice: a topic that is created again under the same name has a higher one."""
    replication_factor: int
    config: TopicConfig
    partitions: list[Partition]
    id: str | None = None
    """The topic's UUID. None where nodes of an older build answer."""
    batch_format: int = 1
    """The highest format of record batches that the cluster takes."""


class Topics:
    """``client.topics``. Each call takes ``timeout_s``, by default the client's own."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s

    async def create(
        self,
        topic: str,
        *,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Topic:
        """Create a topic. Raises ``TopicExists`` if the name is taken, whatever the configuration."""
        answer = await self._put(topic, partitions, replication_factor, config, timeout_s)
        if answer.status != 201 and not answer.repeated:
            raise TopicExists(f"topic {topic!r} exists already, with this configuration")
        return _topic(answer)

    async def ensure(
        self,
        topic: str,
        *,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Topic:
        """Create a topic unless it exists. Raises ``TopicExists`` if it does with another configuration."""
        return _topic(await self._put(topic, partitions, replication_factor, config, timeout_s))

    async def describe(
        self, topic: str, *, topic_id: int | None = None, timeout_s: float | None = None
    ) -> Topic:
        """One topic with its partitions. Raises ``UnknownTopic``, or ``TopicDeleted`` if the topic of this
        name has another id than ``topic_id``."""
        return _topic(await self._call("GET", topic, topic_id=topic_id, timeout_s=timeout_s))

    async def exists(self, topic: str, *, timeout_s: float | None = None) -> bool:
        """Whether a topic of this name exists."""
        try:
            await self.describe(topic, timeout_s=timeout_s)
        except UnknownTopic:
            return False
        return True

    async def list(self, prefix: str = "", *, timeout_s: float | None = None) -> AsyncIterator[Topic]:
        """All topics whose names start with ``prefix``, in order of name, fetched page by page."""
        after = ""
        while True:
            query: dict[str, str | int] = {"prefix": prefix, "after": after, "limit": _PAGE}
            answer = await self._transport.call(
                Request(method="GET", path="/v1/topics", query=query), self._deadline(timeout_s)
            )
            page = answer.convert(_Page)
            for topic in page.topics:
                yield topic
            if len(page.topics) < _PAGE:
                return
            after = page.topics[-1].name

    async def alter(self, topic: str, config: Mapping[str, Any], *, timeout_s: float | None = None) -> Topic:
        """Change some of the configuration; None lifts a limit."""
        return _topic(await self._call("PATCH", topic, {"config": config}, timeout_s=timeout_s))

    async def delete(
        self, topic: str, *, topic_id: int | None = None, timeout_s: float | None = None
    ) -> None:
        """Remove a topic and its data on every node. Raises ``UnknownTopic``.

        With ``topic_id``, only the topic with that id is removed: if the name belongs to a later topic, that
        one stays and the call raises ``TopicDeleted``.
        """
        try:
            await self._call("DELETE", topic, topic_id=topic_id, timeout_s=timeout_s)
        except UnknownTopic as error:
            if not error.fields.get("repeated"):  # else an earlier try of this call has removed it
                raise

    async def _put(
        self,
        topic: str,
        partitions: int,
        replication_factor: int | None,
        config: Mapping[str, Any] | None,
        timeout_s: float | None,
    ) -> Answer:
        body: dict[str, Any] = {"partitions": partitions}
        if replication_factor is not None:
            body["replication_factor"] = replication_factor
        if config:
            body["config"] = dict(config)
        return await self._call("PUT", topic, body, timeout_s=timeout_s)

    async def _call(
        self,
        method: str,
        topic: str,
        body: Any = None,
        *,
        topic_id: int | None = None,
        timeout_s: float | None,
    ) -> Answer:
        request = Request(
            method=method,
            path=f"/v1/topics/{check_name(topic)}",
            headers=Pin(topic_id).headers({} if body is None else {"Content-Type": "application/json"}),
            body=json_text.encode(body) if body is not None else None,
        )
        deadline = self._deadline(timeout_s)
        # Creating a topic takes a while during an election; a single try may use all the time there is.
        return await self._transport.call(request, deadline, attempt_timeout_s=deadline.timeout_s)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)


class _Page(msgspec.Struct):
    topics: list[Topic]


def _topic(answer: Answer) -> Topic:
    return answer.convert(Topic)
