"""Topics: their descriptions, and creating, altering and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from node.metadata.topic_config import TopicConfig


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition as this node sees it; offsets are the leader's where known, else None."""

    partition: int
    leader: str | None
    replicas: Sequence[str]
    in_sync: Sequence[str]
    high_watermark: int | None
    log_start_offset: int | None
    term: int | None


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic."""

    name: str
    topic_id: int
    replication_factor: int
    config: TopicConfig
    partitions: Sequence[PartitionInfo]
    uuid: str | None = None
    """None for a moment, while a cluster is being formed."""


class TopicLimits(NamedTuple):
    """A topic's limits: all that a produce needs, without the cost of the full description."""

    partitions: int
    max_record_bytes: int
    topic_id: int
    retention_ms: int | None = None
    is_coordinator: bool = False
    """Whether its partitions are the coordinator's shards, which keep no records."""


class TopicAdmin(Protocol):
    """Topics as a whole. Changes only where this node leads the metadata (``Broker.metadata``)."""

    async def describe(self, name: str, *, timeout_s: float) -> TopicInfo:
        """The topic with every partition as its leader sees it, where that one answers in time.

        Raises UnknownTopic, InvalidName.
        """

    def page(self, *, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        """In order of name."""

    async def create(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: TopicConfig,
        timeout_s: float,
    ) -> tuple[TopicInfo, bool]:
        """Returns (the topic, whether it was created now). Only where ``metadata.leads_here``.

        A ``replication_factor`` of 0: three, or one per node where these are fewer. Raises TopicExists,
        InvalidRequest, Conflict (too few nodes are ready), Unavailable, OutcomeUnknown.

        Returns once this node has applied it and, where that happens in time, all partitions have leaders.
        """

    async def alter(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicInfo:
        """Change some of the configuration; only where ``metadata.leads_here``."""

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicInfo:
        """Set how many replicas each partition has; moves get there gradually.

        Only where ``metadata.leads_here``. Raises FeatureLevelNeeded, InvalidRequest,
        Conflict (too few nodes are there), UnknownTopic, Unavailable, OutcomeUnknown.
        """

    async def add_partitions(self, name: str, partitions: int, *, timeout_s: float) -> tuple[TopicInfo, bool]:
        """Returns (the topic, whether partitions were added): if so, keys map to other partitions.

        Only where ``metadata.leads_here``. Raises as ``change_replication_factor`` and ``create`` do.
        """

    async def delete(self, name: str, *, timeout_s: float) -> None:
        """Remove the topic and its data on every node; only where ``metadata.leads_here``."""
