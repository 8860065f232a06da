"""The synchronous facade, from a thread without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from floodmark import Client as AsyncClient
from floodmark import keywords
from floodmark.admin.topics import Topics
from floodmark.errors import TransportError, UnknownTopic
from floodmark.processor.options import ProcessOptions
from floodmark.producer.options import ProducerOptions
from floodmark.producer.producer import Producer
from floodmark.queues.queue import Queue
from floodmark.queues.queues import Queues
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


async def test_following_is_ended_by_another_thread(node_url: str, topic: str) -> None:
    """``stop`` ends a loop that waits for records that never come, as the log's end would."""

    def follow() -> list[int]:
        with Client(node_url) as client:
            client.produce(topic, b"x", partition=0)
            records = client.read(topic, 0, follow=True)
            seen = []
            for record in records:
                seen.append(record.offset)
                threading.Thread(target=records.stop).start()
            records.stop()  # What has ended is let be.
            return seen

    assert await asyncio.to_thread(follow) == [0]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (AsyncClient.__init__, keywords.OfClient),
        (AsyncClient.produce, keywords.OfProduce),
        (ProducerOptions, keywords.OfProducer),
        (AsyncClient.read, keywords.OfRead),
        (AsyncClient.read_batches, keywords.OfRead),
        (ProcessOptions, keywords.OfProcess),
        (AsyncClient.tail, keywords.OfTopicId),
        (AsyncClient.cluster, keywords.Within),
        (AsyncClient.nodes, keywords.Within),
        (Producer.send, keywords.OfRecord),
        (Producer.send_many, keywords.OfRecords),
        (Topics.create, keywords.OfTopic),
        (Topics.ensure, keywords.OfTopic),
        (Topics.describe, keywords.OfTopicId),
        (Topics.delete, keywords.OfTopicId),
        (Topics.exists, keywords.Within),
        (Topics.list, keywords.Within),
        (Topics.alter, keywords.Within),
        (AsyncClient.queue, keywords.OfWorker),
        (Queue.jobs, keywords.OfJobs),
        (Queues.put, keywords.OfQueue),
        (Queues.receive, keywords.OfReceive),
        (Queues.replay, keywords.OfReplay),
    ],
)
def test_options_have_the_types_of_the_method_that_takes_them(
    method: Callable[..., Any], options: type[Any]
) -> None:
    """Names and types: whatever a method takes by keyword can be passed on, and nothing else."""
    hints = get_type_hints(method)
    taken = {
        name: hints[name]
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert get_type_hints(options) == taken
