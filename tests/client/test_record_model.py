"""Tombstones and headers in the client: written, read, and refused before they harm other records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from floodmark import TOMBSTONE, Client
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.errors import FeatureLevelNeeded, InvalidRequest
from floodmark.format import batch
from floodmark.format.frame import walk

from tests.client.front import Front
from tests.http.memory_broker import MemoryCluster

FEATURES = "GET /v1/cluster/features"
PAIRS = [("n", "a"), ("n", b"\xff"), ("m", None), ("n", "a")]
BEYOND: dict[str, tuple[Any, dict[str, Any]]] = {
    "a tombstone": (TOMBSTONE, {"key": "k"}),
    "a name twice": ("v", {"headers": [("n", "a"), ("n", "b")]}),
    "bytes in a header": ("v", {"headers": {"n": b"\xff"}}),
    "null in a header": ("v", {"headers": {"n": None}}),
}


async def read(client: Client, topic: str) -> list[ConsumedRecord]:
    """All of the first partition."""
    return [record async for record in client.read(topic, 0)]


def formats(nodes: MemoryCluster, topic: str) -> list[int]:
    """Of all batches that lie there."""
    return [
        batch.decode_header(payload).format
        for item in nodes.logs[topic, 0].frames
        for _, payload in walk(item.pack_header() + item.payload)
    ]


@pytest.mark.parametrize("what", BEYOND)
async def test_what_level_1_does_not_have_is_refused_at_send(
    client: Client, nodes: MemoryCluster, topic: str, what: str
) -> None:
    """The records around it are stored, and the error says which level is needed, and how to come to it."""
    value, more = BEYOND[what]
    async with client.producer(topic, linger_ms=1_000, batch_bytes=1 << 20) as producer:
        before = await producer.send("before", partition=0)
        with pytest.raises(FeatureLevelNeeded, match="cluster upgrade --finalize 2") as refused:
            await producer.send(value, partition=0, **more)
        assert (refused.value.fields["level"], refused.value.fields["needs"]) == (1, 2)
        if value is TOMBSTONE:
            with pytest.raises(FeatureLevelNeeded):
                await producer.send_many(["x", TOMBSTONE], partition=0)
        behind = await producer.send("behind", partition=0, headers={"plain": "text"})
        await producer.flush()
        assert ((await before).offset, (await behind).offset) == (0, 1)
        assert producer.memory_bytes == 0
    with pytest.raises(FeatureLevelNeeded):
        await client.produce(topic, value, partition=0, **more)
    assert [record.json() for record in await read(client, topic)] == ["before", "behind"]
    assert set(formats(nodes, topic)) == {1}


@pytest.mark.parametrize("what", BEYOND)
@pytest.mark.parametrize("named", [False, True])
async def test_an_open_producer_learns_that_the_level_was_raised(
    client: Client, nodes: MemoryCluster, topic: str, front: Front, what: str, *, named: bool
) -> None:
    """It asks once, and what comes from then on is of format 2, under the same numbers."""
    value, more = BEYOND[what]
    identity = {"name": "p", "epoch": 3} if named else {}
    async with client.producer(topic, linger_ms=0, **identity) as producer:
        await (await producer.send("first", partition=0))
        nodes.level = 2
        for broker in nodes.brokers.values():
            broker.level_behind = 1  # What nodes say by themselves may be old.
        await (await producer.send(value, partition=0, **more))
        await (await producer.send(value, partition=0, **more))
        assert front.seen.count(FEATURES) == 1
        await (await producer.send("last", partition=0))
    assert formats(nodes, topic) == [1, 2, 2, 2]
    headers = [batch.decode_header(item.payload) for item in nodes.logs[topic, 0].frames]
    assert [header.sequence for header in headers] == [0, 1, 2, 3]
    assert len({(header.producer_id, header.producer_epoch) for header in headers}) == 1


@pytest.fixture
def at_level_2(nodes: MemoryCluster, client: Client, topic: str) -> Client:
    """A client of a cluster that takes all of it."""
    nodes.level = 2
    return client


async def _by_producer(client: Client, value: Any, **more: Any) -> None:
    async with client.producer("t", linger_ms=0) as producer:
        await (await producer.send(value, partition=0, **more))


async def _without_numbers(client: Client, value: Any, **more: Any) -> None:
    async with client.producer("t", idempotent=False, compression="zstd") as producer:
        await producer.send(value, partition=0, **more)


async def _by_itself(client: Client, value: Any, **more: Any) -> None:
    await client.produce("t", value, partition=0, **more)


@pytest.mark.parametrize("write", [_by_producer, _without_numbers, _by_itself])
async def test_all_of_it_comes_back(
    at_level_2: Client, nodes: MemoryCluster, front: Front, write: Callable[..., Any]
) -> None:
    """Tombstones, headers in order with names that come again, bytes, null; nobody is asked for the level."""
    client = at_level_2
    await write(client, TOMBSTONE, key="k", headers=PAIRS)
    await write(client, None, key=b"\xff", headers={"a": "1", "b": ""})
    tombstone, null = await read(client, "t")
    assert tombstone.tombstone
    assert (tombstone.value, tombstone.is_json, tombstone.key_text) == (None, False, "k")
    assert list(tombstone.headers.pairs) == [("n", b"a"), ("n", b"\xff"), ("m", None), ("n", b"a")]
    assert tombstone.headers["n"] == "a"
    assert tombstone.headers["m"] is None
    assert list(tombstone.headers) == ["n", "m"]
    with pytest.raises(InvalidRequest, match="pairs"):
        tombstone.headers.getall("n")
    with pytest.raises(InvalidRequest, match="tombstone"):
        tombstone.json()
    assert not null.tombstone
    assert (null.value, null.json()) == (b"null", None)
    assert null.headers == {"a": "1", "b": ""}
    with pytest.raises(InvalidRequest, match="not text"):
        _ = null.key_text
    assert set(formats(nodes, "t")) == {2}
    assert FEATURES not in front.seen


async def test_many_values_may_have_tombstones_among_them(at_level_2: Client, nodes: MemoryCluster) -> None:
    """In one list with others."""
    async with at_level_2.producer("t") as producer:
        stored = await (await producer.send_many(["a", TOMBSTONE, b"c"], keys=["k"] * 3))
        assert len({one.partition for one in stored}) == 1
    found = [record async for record in at_level_2.read("t", stored[0].partition)]
    assert [record.tombstone for record in found] == [False, True, False]


async def test_a_record_that_was_read_can_be_sent_again(at_level_2: Client) -> None:
    """Its headers are taken as they are."""
    client = at_level_2
    await client.produce("t", TOMBSTONE, key="k", headers=PAIRS, partition=0)
    (record,) = await read(client, "t")
    await client.produce("t", TOMBSTONE, key=record.key, headers=record.headers, partition=0)
    one, again = await read(client, "t")
    assert (one.key, one.headers, one.value) == (again.key, again.headers, again.value)


@pytest.mark.parametrize("bad", [[("n",)], [("n", 1)], [(1, "n")], 7, {"n": 1}, [("n", "\ud800")]])
async def test_what_is_no_header_is_refused_at_send(at_level_2: Client, bad: Any) -> None:
    """With what is wrong about it."""
    with pytest.raises(InvalidRequest, match=r"header|UTF-8"):
        await at_level_2.produce("t", 1, headers=bad)


async def test_too_many_headers_are_refused_at_send(at_level_2: Client) -> None:
    """65, whatever their names."""
    with pytest.raises(InvalidRequest, match="at most 64"):
        await at_level_2.produce("t", 1, headers=[("n", "v")] * 65)
