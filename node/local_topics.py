"""Topics as a whole, as this node sees and changes them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from node.broker import TopicInfo
from node.membership.liveness import Liveness
from node.metadata.group import Metadata
from node.metadata.topic_config import TopicConfig
from node.node_query import NodeQuery, merged
from node.topics import Topics
from node.views import Views

HEARD_WAIT_S: Final = 1.0
"""How long a deletion waits for other nodes to apply it; the topic is deleted whether or not they do."""


class LocalTopics:
    """Implements ``node.broker.TopicAdmin``."""

    def __init__(
        self,
        *,
        node_id: str,
        metadata: Metadata,
        topics: Topics,
        views: Views,
        query: NodeQuery,
        alive: Liveness,
    ) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._topics = topics
        self._views = views
        self._query = query
        self._alive = alive

    async def describe(self, name: str, *, timeout_s: float) -> TopicInfo:
        """One topic, its partitions as their leaders see them."""
        alive = self._alive()
        topic = self._views.topic(self._topics.find(name), alive)
        unsure = [info for info in topic.partitions if info.leader != self._node_id]
        asked = {
            info.leader or next((node for node in info.replicas if node in alive), "") for info in unsure
        }
        nodes = sorted(asked & alive - {self._node_id})
        try:
            async with asyncio.timeout(timeout_s):
                seen = await asyncio.gather(
                    *(self._query.partitions(node, name, topic.topic_id) for node in nodes)
                )
        except TimeoutError:
            return topic
        return merged(topic, dict(zip(nodes, seen, strict=True)))

    def page(self, *, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        """Some of them, in order of name."""
        known = self._metadata.state.topics
        names = sorted(name for name in known if name.startswith(prefix) and name > after)
        alive = self._alive()
        return [self._views.topic(known[name], alive) for name in names[:limit]]

    async def create(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: TopicConfig,
        timeout_s: float,
    ) -> tuple[TopicInfo, bool]:
        """Create a topic, or find that it exists as wanted."""
        topic, created = await self._topics.create(
            name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=config,
            timeout_s=timeout_s,
        )
        return self._views.topic(topic, self._alive()), created

    async def alter(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicInfo:
        """Change some of the configuration."""
        topic = await self._topics.alter(name, changes, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive())

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicInfo:
        """Set how many replicas each partition has."""
        topic = await self._topics.change_replication_factor(name, factor, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive())

    async def add_partitions(self, name: str, partitions: int, *, timeout_s: float) -> tuple[TopicInfo, bool]:
        """Add partitions."""
        topic, added = await self._topics.add_partitions(name, partitions, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive()), added

    async def delete(self, name: str, *, timeout_s: float) -> None:
        """Remove a topic, and give all live nodes time to apply that.

        After the answer the topic is gone on each of them: a node that did not know yet could store records
        in a deleted topic. A node that is cut off is not waited for; its replicas have no majority.
        """
        topic = await self._topics.delete(name, timeout_s=timeout_s)
        others = self._alive() - {self._node_id}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_WAIT_S):
                await asyncio.gather(
                    *(self._query.wait_deleted(node, name, topic.topic_id) for node in others)
                )
