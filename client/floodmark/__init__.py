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
from floodmark.record import Record

if TYPE_CHECKING:
    from floodmark.client import Client
    from floodmark.cluster import Cluster, Node
    from floodmark.consumed import ConsumedRecord, ReadBatch
    from floodmark.fetcher import Bounds
    from floodmark.headers import Headers
    from floodmark.produced import Ack, AckList, Produced
    from floodmark.producer import Producer
    from floodmark.producer_options import ProducerOptions
    from floodmark.reader import BatchReader, RecordReader
    from floodmark.topics import Partition, Topic, TopicConfig
    from floodmark.values import TOMBSTONE

__all__ = [
    "TOMBSTONE",
    "Ack",
    "AckList",
    "BatchReader",
    "Bounds",
    "Client",
    "Cluster",
    "ConsumedRecord",
    "FloodmarkError",
    "Headers",
    "Node",
    "Partition",
    "Produced",
    "Producer",
    "ProducerOptions",
    "ReadBatch",
    "Record",
    "RecordReader",
    "Topic",
    "TopicConfig",
]

_HOMES = {
    "TOMBSTONE": "values",
    "Ack": "produced",
    "AckList": "produced",
    "BatchReader": "reader",
    "Bounds": "fetcher",
    "Client": "client",
    "Cluster": "cluster",
    "ConsumedRecord": "consumed",
    "Headers": "headers",
    "Node": "cluster",
    "Partition": "topics",
    "Produced": "produced",
    "Producer": "producer",
    "ProducerOptions": "producer_options",
    "ReadBatch": "consumed",
    "RecordReader": "reader",
    "Topic": "topics",
    "TopicConfig": "topics",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'floodmark' has no attribute {name!r}")
    return getattr(importlib.import_module(f"floodmark.{home}"), name)
