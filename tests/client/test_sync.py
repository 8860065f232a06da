"""The synchronous facade, from a thread without an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from floodmark.errors import TransportError, UnknownTopic
from floodmark.sync import Client


def work(url: str, topic: str) -> None:
    """A whole program: topics, single records, a producer, reading, errors."""
    with Client(url) as client:
        assert client.topics.describe(topic).name == topic
        assert client.topics.exists(topic)
        client.topics.ensure("sync.t")
        assert [found.name for found in client.topics.list("sync.")] == ["sync.t"]
        client.topics.alter("sync.t", {"retention_ms": 1000})
        client.topics.delete("sync.t")
        assert client.produce(topic, {"n": 0}, partition=0).offset == 0
        with client.producer(topic, linger_ms=1) as producer:
            acks = [producer.send({"n": n}, partition=0) for n in range(1, 10)]
            listed = producer.send_many([{"n": n} for n in range(10, 20)], partition=0)
            producer.flush()
            assert listed.done()
            assert [place.offset for place in listed.result()] == list(range(10, 20))
            assert [ack.result().offset for ack in acks] == list(range(1, 10))
        assert [record.json()["n"] for record in client.read(topic, 0)] == list(range(20))
        assert sum(len(batch) for batch in client.read_batches(topic)) == 20
        for record in client.read(topic, 0, follow=True):
            if record.offset == 19:
                break
        assert client.tail(topic, 0).high_watermark == 20
        assert client.cluster().node_id in {node.node_id for node in client.nodes()}
        with pytest.raises(UnknownTopic):
            client.topics.describe("nowhere")
        producer = client.producer(topic)
        producer.close()
        with pytest.raises(TransportError):
            producer.send(b"after the end")
    with pytest.raises(TransportError):
        client.produce(topic, b"x")
    client.close()


async def test_a_program_without_an_event_loop(node_url: str, topic: str) -> None:
    """Everything works from a plain thread, and the background thread is gone at the end."""
    await asyncio.to_thread(work, node_url, topic)
    assert "floodmark" not in {thread.name for thread in threading.enumerate()}
