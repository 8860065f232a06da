"""A topic that is deleted, and made again, under readers and producers: each belongs to one topic id."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from floodmark import Client
from floodmark import sync as synchronous
from floodmark.errors import TopicDeleted, UnknownTopic

from tests.http.memory_broker import MemoryCluster


async def make_again(client: Client, topic: str, *values: str, partitions: int = 3) -> tuple[int, int]:
    """Delete the topic and make it again, with some records; the ids."""
    old = (await client.topics.describe(topic)).topic_id
    await client.topics.delete(topic)
    new = await client.topics.create(topic, partitions=partitions)
    for value in values:
        await client.produce(topic, value, partition=0)
    return old, new.topic_id


@pytest.mark.parametrize("partition", [0, None])
@pytest.mark.parametrize("where", [{}, {"start": 1}, {"start": -2}, {"start": "latest"}])
async def test_a_following_reader_ends_with_its_topic(
    client: Client, topic: str, nodes: MemoryCluster, partition: int | None, where: dict[str, Any]
) -> None:
    """It is told, and sees no record of the topic that was made under the name, however many those are."""
    if partition is None and isinstance(where.get("start"), int) and where["start"] >= 0:
        partition = 0
    for number in range(3):
        await client.produce(topic, f"first {number}", partition=0)
    seen: list[str] = []
    async with client.read(topic, partition, follow=True, **where) as records:

        async def follow() -> None:
            async for record in records:
                seen.append(record.json())  # noqa: PERF401  -- what came before an error counts too

        reading = asyncio.create_task(follow())
        await nodes.logs[topic, 0].awaited()
        old, new = await make_again(client, topic, *(f"second {number}" for number in range(5)))
        with pytest.raises(TopicDeleted) as told:
            await reading
    assert told.value.fields["topic_id"] == old
    assert told.value.fields.get("current_topic_id") in (None, new)
    assert records.topic_id == old
    assert seen == ["first 0", "first 1", "first 2"][3 - len(seen) :]


async def test_a_following_reader_is_told_when_nothing_comes_after(
    client: Client, topic: str, nodes: MemoryCluster
) -> None:
    """Deleted, and not made again."""

    async def follow() -> None:
        async for _ in client.read(topic, 0, follow=True):
            pass

    reading = asyncio.create_task(follow())
    await nodes.logs[topic, 0].awaited()
    await client.topics.delete(topic)
    with pytest.raises(TopicDeleted):
        await reading


async def test_an_offset_that_was_kept_with_its_id_is_refused(client: Client, topic: str) -> None:
    """By readers of one and of all partitions, tails, descriptions and deletions; the new id is taken."""
    old, new = await make_again(client, topic, "second")
    calls = [
        lambda: anext(aiter(client.read(topic, 0, start=0, topic_id=old))),
        lambda: anext(aiter(client.read(topic, topic_id=old))),
        lambda: client.tail(topic, 0, topic_id=old),
        lambda: client.topics.describe(topic, topic_id=old),
        lambda: client.topics.delete(topic, topic_id=old),
    ]
    for call in calls:
        with pytest.raises(TopicDeleted):
            await call()
    assert [record.json() async for record in client.read(topic, 0, start=0, topic_id=new)] == ["second"]
    await client.topics.delete(topic, topic_id=new)


@pytest.mark.parametrize("options", [{}, {"idempotent": False}, {"linger_ms": 0}, {"acks": "leader"}])
async def test_a_producer_ends_with_its_topic(
    client: Client, topic: str, nodes: MemoryCluster, options: dict[str, Any]
) -> None:
    """Every record that is not stored is told so, also of partitions that sent nothing; no sequence is
    carried over: nothing at all comes to the topic that was made under the name."""
    producer = client.producer(topic, **{"linger_ms": 1, **options})
    for partition in range(3):
        await (await producer.send("first", partition=partition))
    old, _ = await make_again(client, topic)
    late = [await producer.send("late", partition=0) for _ in range(5)]
    for ack in late:
        with pytest.raises(TopicDeleted) as told:
            await ack
        assert told.value.fields["topic_id"] == old
    for partition in range(3):
        with pytest.raises(TopicDeleted):
            await producer.send("later", partition=partition)
    with pytest.raises(TopicDeleted):
        await producer.send("later")
    await producer.close()
    assert [nodes.logs[topic, partition].next for partition in range(3)] == [0, 0, 0]


async def test_what_waits_in_other_senders_is_told_at_once(
    client: Client, topic: str, nodes: MemoryCluster
) -> None:
    """Records that linger for long do not wait for their turn to be refused."""
    producer = client.producer(topic, linger_ms=3_600_000)
    await producer.open()
    waiting = await producer.send("waits", partition=1)
    await make_again(client, topic)
    refused = await producer.send_many(["x" * 1000] * 1100, partition=0)  # Full: it leaves at once.
    with pytest.raises(TopicDeleted):
        await refused
    with pytest.raises(TopicDeleted):
        await waiting
    await producer.close()
    assert [nodes.logs[topic, partition].next for partition in range(3)] == [0, 0, 0]


async def test_produce_means_the_topic_that_has_the_name(client: Client, topic: str) -> None:
    """A call holds nothing of the topic that is gone; without a topic it is ``UnknownTopic``."""
    for _ in range(3):
        await client.produce(topic, "first", partition=0)
    await make_again(client, topic, partitions=1)
    stored = await asyncio.gather(*(client.produce(topic, f"second {number}") for number in range(20)))
    assert sorted(stored) == [(0, offset) for offset in range(20)]
    await client.topics.delete(topic)
    with pytest.raises(UnknownTopic):
        await client.produce(topic, "nowhere")


async def test_the_client_without_a_loop_is_told_as_well(client: Client, topic: str, node_url: str) -> None:
    """Its readers and producers are the same."""

    def work() -> str:
        with synchronous.Client(node_url) as other:
            other.produce(topic, "first", partition=0)
            reading = other.read(topic, 0, follow=True)
            producer = other.producer(topic, linger_ms=0)
            producer.send("first", partition=1).result()
            assert next(reading).json() == "first"
            other.topics.delete(topic)
            other.topics.create(topic, partitions=1)
            other.produce(topic, "second")
            with pytest.raises(TopicDeleted):
                producer.send("late", partition=1).result()
            with pytest.raises(TopicDeleted):
                next(reading)
            return str(next(other.read(topic, 0)).json())

    assert await asyncio.to_thread(work) == "second"


@pytest.mark.parametrize("again", [False, True])
async def test_consume_ends_with_its_topic(
    client: Client, topic: str, nodes: MemoryCluster, node_url: str, again: bool
) -> None:
    """The command prints nothing of a topic that was made under the name, says why, and ends with 3."""
    await client.produce(topic, "first", partition=0)
    consume = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "--server", node_url, "consume", topic, "--follow"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert consume.stdout is not None
    assert await consume.stdout.readline() == b'"first"\n'
    if again:
        await make_again(client, topic, "second", "second", "second")
    else:
        await client.topics.delete(topic)
    printed, told = await consume.communicate()
    assert (printed, consume.returncode) == (b"", 3)
    assert b"is deleted" in told
