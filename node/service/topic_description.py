"""A topic and its partitions as they are shown."""

from __future__ import annotations

import msgspec

from node.broker import PartitionInfo, TopicInfo
from node.metadata.topic_config import TopicConfig


class PartitionDescription(msgspec.Struct, frozen=True):
    """One partition, as its leader sees it where that one is known."""

    partition: int
    leader: str | None
    replicas: list[str]
    in_sync: list[str]
    high_watermark: int | None
    log_start_offset: int | None
    term: int | None
    leader_epoch: int | None
    """The term of that leader: while there is none, the term may be of elections that nobody wins."""


class TopicDescription(msgspec.Struct, frozen=True):
    """One topic. ``id`` is null for a moment in a cluster that is just being formed."""

    topic: str
    topic_id: int
    id: str | None
    replication_factor: int
    config: TopicConfig
    batch_format: int
    """The highest format of record batches that it takes."""
    partitions: list[PartitionDescription]
    warning: str | msgspec.UnsetType = msgspec.UNSET


def described(info: TopicInfo, batch_format: int) -> TopicDescription:
    """A topic as it is shown."""
    return TopicDescription(
        topic=info.name,
        topic_id=info.topic_id,
        id=info.uuid,
        replication_factor=info.replication_factor,
        config=info.config,
        batch_format=batch_format,
        partitions=[_partition(each) for each in info.partitions],
    )


def _partition(info: PartitionInfo) -> PartitionDescription:
    return PartitionDescription(
        partition=info.partition,
        leader=info.leader,
        replicas=list(info.replicas),
        in_sync=list(info.in_sync),
        high_watermark=info.high_watermark,
        log_start_offset=info.log_start_offset,
        term=info.term,
        leader_epoch=None if info.leader is None else info.term,
    )
