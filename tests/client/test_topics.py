"""Topics and the cluster, through the client."""

from __future__ import annotations

import pytest
from floodmark import Client
from floodmark.errors import InvalidName, InvalidRequest, TopicExists, UnknownTopic

from tests.client.front import Front, break_off


async def test_a_topic_from_its_making_to_its_end(client: Client) -> None:
    """create, describe, alter, list and delete."""
    made = await client.topics.create("t.life", partitions=4, config={"retention_ms": 60_000})
    assert (made.name, len(made.partitions), made.config.retention_ms) == ("t.life", 4, 60_000)
    assert [partition.partition for partition in made.partitions] == [0, 1, 2, 3]
    assert await client.topics.exists("t.life")
    assert (await client.topics.describe("t.life")).config.retention_ms == 60_000
    assert (await client.topics.alter("t.life", {"retention_ms": None})).config.retention_ms is None
    assert [topic.name async for topic in client.topics.list("t.l")] == ["t.life"]
    await client.topics.delete("t.life")
    assert not await client.topics.exists("t.life")
    for call in (client.topics.delete("t.life"), client.topics.describe("t.life")):
        with pytest.raises(UnknownTopic):
            await call


async def test_making_what_exists(client: Client) -> None:
    """ensure takes what is there; create does not; neither takes another configuration."""
    await client.topics.ensure("t.twice", partitions=2)
    assert len((await client.topics.ensure("t.twice", partitions=2)).partitions) == 2
    with pytest.raises(TopicExists):
        await client.topics.create("t.twice", partitions=2)
    with pytest.raises(TopicExists):
        await client.topics.ensure("t.twice", partitions=3)


async def test_a_lost_answer_is_no_error(front: Front, client: Client) -> None:
    """What an earlier try of the same call has made or removed is this call's own success."""

    async def lose_first(request, body):  # type: ignore[no-untyped-def]
        front.after = nothing
        return await break_off(request)

    async def nothing(request, body):  # type: ignore[no-untyped-def]
        return None

    front.after = lose_first
    assert (await client.topics.create("t.lost")).name == "t.lost"
    front.after = lose_first
    await client.topics.delete("t.lost")
    assert not await client.topics.exists("t.lost")


async def test_long_lists_come_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven topics in pages of three are seven topics, in order."""
    monkeypatch.setattr("floodmark.admin.topics._PAGE", 3)
    names = [f"page.{number}" for number in range(7)]
    for name in names:
        await client.topics.create(name)
    assert [topic.name async for topic in client.topics.list("page.")] == names


async def test_what_is_wrong_is_refused(client: Client) -> None:
    """Names that are none, numbers out of range."""
    with pytest.raises(InvalidName):
        await client.topics.create("a/b")
    with pytest.raises(InvalidRequest):
        await client.topics.create("t.none", partitions=0)


async def test_the_cluster_describes_itself(client: Client, topic: str) -> None:
    """cluster(), nodes() and tail() answer typed objects."""
    cluster = await client.cluster()
    assert cluster.node_id in {node.node_id for node in cluster.nodes}
    assert cluster.topics >= 1
    assert [node.node_id for node in await client.nodes()] == [node.node_id for node in cluster.nodes]
    await client.produce(topic, b"x", partition=1)
    bounds = await client.tail(topic, 1)
    assert (bounds.log_start_offset, bounds.high_watermark) == (0, 1)
