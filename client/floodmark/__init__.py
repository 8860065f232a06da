"""Floodmark's Python client, and the codecs that it shares with the server.

    async with floodmark.Client("http://localhost:7070") as client:
        await client.topics.ensure("orders", partitions=3)
        stored = await client.produce("orders", {"id": 1}, key="u1")
        async for record in client.read("orders"):
            print(record.offset, record.json())

Importing this package is cheap: what needs an event loop and HTTP is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from floodmark.errors import FloodmarkError
from floodmark.format.record import Record

if TYPE_CHECKING:
    from floodmark import sync as sync
    from floodmark.admin.acls import Acl, AclDecision
    from floodmark.admin.cluster import Cluster, Node
    from floodmark.admin.quotas import Quota, QuotaLimits
    from floodmark.admin.topics import Partition, Topic, TopicConfig
    from floodmark.client import Client
    from floodmark.consumer.consumed import ConsumedRecord, ReadBatch
    from floodmark.consumer.fetcher import Bounds
    from floodmark.consumer.reader import BatchReader, RecordReader
    from floodmark.format.headers import Headers
    from floodmark.format.values import TOMBSTONE
    from floodmark.groups.consumer import GroupConsumer
    from floodmark.groups.shapes import (
        CommittedOffset,
        Group,
        GroupLag,
        GroupMember,
        GroupRecord,
        PartitionLag,
        TopicPartition,
    )
    from floodmark.processor.options import Output, ProcessOptions
    from floodmark.processor.processor import Processed, Processor
    from floodmark.producer.options import ProducerOptions
    from floodmark.producer.produced import Ack, AckList, Produced
    from floodmark.producer.producer import Producer
    from floodmark.queues.descriptions import (
        Breaker,
        DeadLetter,
        DeadRecord,
        QueueConfig,
        QueueInfo,
        QueueListing,
        QueuePartition,
        RecordPlace,
    )
    from floodmark.queues.job import Job
    from floodmark.queues.jobs import Jobs
    from floodmark.queues.queue import Queue
    from floodmark.queues.shapes import Action, Deliveries, Outcome, QueueRecord, Settlement

__all__ = [
    "TOMBSTONE",
    "Ack",
    "AckList",
    "Acl",
    "AclDecision",
    "Action",
    "BatchReader",
    "Bounds",
    "Breaker",
    "Client",
    "Cluster",
    "CommittedOffset",
    "ConsumedRecord",
    "DeadLetter",
    "DeadRecord",
    "Deliveries",
    "FloodmarkError",
    "Group",
    "GroupConsumer",
    "GroupLag",
    "GroupMember",
    "GroupRecord",
    "Headers",
    "Job",
    "Jobs",
    "Node",
    "Outcome",
    "Output",
    "Partition",
    "PartitionLag",
    "ProcessOptions",
    "Processed",
    "Processor",
    "Produced",
    "Producer",
    "ProducerOptions",
    "Queue",
    "QueueConfig",
    "QueueInfo",
    "QueueListing",
    "QueuePartition",
    "QueueRecord",
    "Quota",
    "QuotaLimits",
    "ReadBatch",
    "Record",
    "RecordPlace",
    "RecordReader",
    "Settlement",
    "Topic",
    "TopicConfig",
    "TopicPartition",
]

_HOMES = {
    "TOMBSTONE": "format.values",
    "Ack": "producer.produced",
    "AckList": "producer.produced",
    "Acl": "admin.acls",
    "AclDecision": "admin.acls",
    "Action": "queues.shapes",
    "BatchReader": "consumer.reader",
    "Bounds": "consumer.fetcher",
    "Breaker": "queues.descriptions",
    "Client": "client",
    "Cluster": "admin.cluster",
    "CommittedOffset": "groups.shapes",
    "ConsumedRecord": "consumer.consumed",
    "DeadLetter": "queues.descriptions",
    "DeadRecord": "queues.descriptions",
    "Deliveries": "queues.shapes",
    "Group": "groups.shapes",
    "GroupConsumer": "groups.consumer",
    "GroupLag": "groups.shapes",
    "GroupMember": "groups.shapes",
    "GroupRecord": "groups.shapes",
    "Headers": "format.headers",
    "Job": "queues.job",
    "Jobs": "queues.jobs",
    "Node": "admin.cluster",
    "Outcome": "queues.shapes",
    "Output": "processor.options",
    "Partition": "admin.topics",
    "PartitionLag": "groups.shapes",
    "ProcessOptions": "processor.options",
    "Processed": "processor.processor",
    "Processor": "processor.processor",
    "Produced": "producer.produced",
    "Producer": "producer.producer",
    "ProducerOptions": "producer.options",
    "Queue": "queues.queue",
    "QueueConfig": "queues.descriptions",
    "QueueInfo": "queues.descriptions",
    "QueueListing": "queues.descriptions",
    "QueuePartition": "queues.descriptions",
    "QueueRecord": "queues.shapes",
    "Quota": "admin.quotas",
    "QuotaLimits": "admin.quotas",
    "ReadBatch": "consumer.consumed",
    "RecordPlace": "queues.descriptions",
    "RecordReader": "consumer.reader",
    "Settlement": "queues.shapes",
    "Topic": "admin.topics",
    "TopicConfig": "admin.topics",
    "TopicPartition": "groups.shapes",
}


def __getattr__(name: str) -> Any:
    if name == "sync":
        return importlib.import_module("floodmark.sync")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'floodmark' has no attribute {name!r}")
    return getattr(importlib.import_module(f"floodmark.{home}"), name)
