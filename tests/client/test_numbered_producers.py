"""Producers in a cluster of feature level 2: a number from the cluster, and batches of format 2."""

from __future__ import annotations

import pytest
from aiohttp import web
from floodmark import Client
from floodmark.errors import OutcomeUnknown, ProducerFenced
from floodmark.format import batch
from floodmark.format.batch import BatchHeader, ProducerKind

from node.metadata.levels import NUMBERED_PRODUCERS
from tests.client.front import Front, break_off, no_trouble
from tests.client.partitions import given_up_after
from tests.http.memory_broker import MemoryCluster


@pytest.fixture
def sent(front: Front, nodes: MemoryCluster) -> list[BatchHeader]:
    """The headers of all batches that are sent to the cluster, which is of level 2."""
    nodes.level = NUMBERED_PRODUCERS
    headers: list[BatchHeader] = []

    async def look(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST" and request.path.endswith("/records"):
            headers.append(batch.decode_header(body))
        return None

    front.trouble = look
    return headers


async def _values(client: Client, topic: str, partition: int) -> list[bytes | None]:
    return [record.value async for record in client.read(topic, partition)]


async def test_a_producer_has_one_number_and_a_sequence_for_each_partition(
    client: Client, topic: str, front: Front, sent: list[BatchHeader]
) -> None:
    """It asks once, when it is opened; sequences count records."""
    async with client.producer(topic, linger_ms=0) as producer:
        for values in (["a", "b", "c"], ["d"], ["e", "f"]):
            for partition in (0, 1):
                await (await producer.send_many(values, partition=partition))
    assert front.seen.count("POST /v1/producers") == 1
    assert {(header.producer_kind, header.format, header.producer_epoch) for header in sent} == {
        (ProducerKind.NUMBERED, 2, 0)
    }
    (number,) = {header.producer_number for header in sent}
    assert number is not None
    assert number > 0
    assert [header.sequence for header in sent] == [0, 0, 3, 3, 4, 4]
    async with client.producer(topic, linger_ms=0) as other:
        await (await other.send("x"))
    assert sent[-1].producer_number not in (None, number)


@pytest.mark.parametrize("trouble", ["unavailable", "broken off"])
async def test_without_numbers_a_random_name_does(
    client: Client, topic: str, front: Front, nodes: MemoryCluster, trouble: str
) -> None:
    """Whoever stores records does not need the metadata's leader; nothing is stored twice all the same."""
    nodes.level = NUMBERED_PRODUCERS
    sent: list[BatchHeader] = []

    async def refuse(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.path == "/v1/producers":
            if trouble == "broken off":
                return await break_off(request)
            return web.json_response({"code": "unavailable", "detail": "no leader"}, status=503)
        if request.method == "POST" and request.path.endswith("/records"):
            sent.append(batch.decode_header(body))
            return await break_off(request) if len(sent) % 2 else None
        return None

    front.trouble = refuse
    async with client.producer(topic, linger_ms=0, delivery_timeout_s=60) as producer:
        for value in (b"a", b"b", b"c"):
            await (await producer.send(value, partition=0))
    assert {(header.producer_kind, header.format) for header in sent} == {(ProducerKind.NAMED, 2)}
    assert len({header.producer_id for header in sent}) == 1
    assert await _values(client, topic, 0) == [b"a", b"b", b"c"]


async def test_lost_answers_store_nothing_twice(
    client: Client, topic: str, front: Front, sent: list[BatchHeader]
) -> None:
    """Every second answer is lost after the batch is stored: all records are there, once, in order."""
    count = 0

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        nonlocal count
        if request.method != "POST" or not request.path.endswith("/records"):
            return None
        count += 1
        return await break_off(request) if count % 2 else None

    front.after = lose
    async with client.producer(topic, batch_bytes=300, linger_ms=0) as producer:
        acks = [await producer.send(b"%03d" % n, partition=1) for n in range(100)]
        places = [await ack for ack in acks]
    assert [place.offset for place in places] == list(range(100))
    assert await _values(client, topic, 1) == [b"%03d" % n for n in range(100)]
    assert len(sent) > len({header.sequence for header in sent}) > 5


async def test_after_an_unknown_outcome_all_partitions_go_on_in_the_next_epoch(
    front: Front, topic: str, sent: list[BatchHeader]
) -> None:
    """Under the same number, each from 0 on."""
    look, lost = front.trouble, list[bytes]()

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        await look(request, body)
        if request.path.endswith("/partitions/1/records") and (body in lost or not lost):
            lost.append(body)
            return web.Response(status=503, text="upstream reset")
        return None

    async with Client(front.url) as client:
        producer = client.producer(topic, linger_ms=0)
        for partition in (0, 2):
            await (await producer.send_many(["a", "b"], partition=partition))
        front.trouble = lose
        with pytest.raises(OutcomeUnknown), given_up_after(0.5):
            await (await producer.send("lost", partition=1))
        del sent[:]
        for partition in range(3):
            await (await producer.send_many(["c", "d"], partition=partition))
            await (await producer.send("e", partition=partition))
        await producer.close()
    assert [(header.producer_epoch, header.sequence) for header in sent] == [(1, 0), (1, 2)] * 3
    assert len({header.producer_number for header in sent}) == 1


async def test_a_name_stays_a_name_and_nobody_nobody(
    client: Client, topic: str, front: Front, sent: list[BatchHeader]
) -> None:
    """Those who have a name need no number, nor do those who promise nothing; a name fences as ever."""
    old = client.producer(topic, name="w", epoch=1)
    new = client.producer(topic, name="w", epoch=2)
    plain = client.producer(topic, idempotent=False)
    for producer in (old, new, plain):
        await (await producer.send_many(["a", "b"], partition=0))
    with pytest.raises(ProducerFenced):
        await (await old.send("late", partition=0))
    for producer in (old, new, plain):
        await producer.close()
    assert "POST /v1/producers" not in front.seen
    told = [(header.producer_kind, header.format, header.producer_epoch, header.sequence) for header in sent]
    named = ProducerKind.NAMED
    assert told == [(named, 2, 1, 0), (named, 2, 2, 0), (ProducerKind.NONE, 2, 0, 0), (named, 2, 1, 1)]


async def test_one_that_is_open_when_the_level_is_raised_goes_on_as_it_began(
    client: Client, topic: str, front: Front, nodes: MemoryCluster
) -> None:
    """Below the level nobody asks for a number; what was begun under a name is not begun anew."""
    headers: list[BatchHeader] = []

    async def look(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST" and request.path.endswith("/records"):
            headers.append(batch.decode_header(body))
        return None

    front.trouble = look
    async with client.producer(topic, linger_ms=0) as producer:
        await (await producer.send("a", partition=0))
        nodes.level = NUMBERED_PRODUCERS
        await (await producer.send("b", partition=0))
        await (await producer.send("c", partition=1))
    assert "POST /v1/producers" not in front.seen
    assert [(header.format, header.producer_kind, header.sequence) for header in headers] == [
        (1, ProducerKind.NAMED, 0),
        (1, ProducerKind.NAMED, 1),
        (1, ProducerKind.NAMED, 0),
    ]
    front.trouble = no_trouble
    assert await _values(client, topic, 0) == [b'"a"', b'"b"']
