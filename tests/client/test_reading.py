"""Reading from a real HTTP server, from every position, with trouble on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
from typing import Any

import pytest
from aiohttp import web
from floodmark import Client, ConsumedRecord
from floodmark.errors import InvalidBatch, InvalidRequest, OffsetPastEnd, TransportError, UnknownTopic

from tests.client.front import Front, break_off, break_off_midway, problem
from tests.support.proxy import FaultProxy


async def fill(client: Client, topic: str, count: int, partition: int = 0) -> None:
    """Numbers from 0 on in one partition, some to a batch."""
    async with client.producer(topic, batch_bytes=500) as producer:
        for number in range(count):
            await producer.send(number, partition=partition, timestamp=1_000_000 + number)


async def numbers(client: Client, topic: str, partition: int | None = 0, **where: Any) -> list[int]:
    """The numbers that a reader gives."""
    return [record.json() async for record in client.read(topic, partition, **where)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, range(100)),
        ({"start": "earliest"}, range(100)),
        ({"start": 0}, range(100)),
        ({"start": 37}, range(37, 100)),
        ({"start": 37, "end": 41}, range(37, 41)),
        ({"start": 99}, range(99, 100)),
        ({"start": 100}, range(0)),
        ({"start": -10}, range(90, 100)),
        ({"start": -1000}, range(100)),
        ({"start": "latest"}, range(0)),
        ({"end": 5}, range(5)),
        ({"end": 1000}, range(100)),
        ({"end": 0}, range(0)),
    ],
)
async def test_every_position_starts_and_ends_where_it_says(
    client: Client, topic: str, where: dict[str, Any], expected: range
) -> None:
    """Offsets inside of batches, from the end, by name; by records and by batches."""
    await fill(client, topic, 100)
    assert await numbers(client, topic, **where) == list(expected)
    found: list[int] = []
    async for batch in client.read_batches(topic, 0, **where):
        assert len(batch) == len(batch.records)
        assert batch.first_offset == (found[-1] + 1 if found else expected[0])
        found += [record.json() for record in batch.records]
    assert found == list(expected)


async def test_a_moment_starts_at_the_batch_that_holds_it(client: Client, topic: str) -> None:
    """Nothing of that time or later is left out; a moment behind everything gives nothing."""
    await fill(client, topic, 100)
    moment = dt.datetime.fromtimestamp((1_000_000 + 60) / 1000, tz=dt.UTC)
    found = await numbers(client, topic, start=moment)
    assert found == list(range(found[0], 100))
    assert 30 < found[0] <= 60
    assert await numbers(client, topic, start=dt.datetime(2099, 1, 1, tzinfo=dt.UTC)) == []


async def test_positions_that_are_none_are_refused(client: Client, topic: str) -> None:
    """Past the end, in words, without a zone, in a topic that does not exist."""
    await fill(client, topic, 3)
    with pytest.raises(OffsetPastEnd) as caught:
        await numbers(client, topic, start=4)
    assert caught.value.fields["high_watermark"] == 3
    with pytest.raises(UnknownTopic):
        await numbers(client, "nowhere", partition=None)
    wrong: list[Any] = ["begin", dt.datetime(2099, 1, 1), 1.5]  # noqa: DTZ001
    for start in wrong:
        with pytest.raises(InvalidRequest):
            client.read(topic, start=start)


async def test_all_partitions_are_read_in_order_within_each(client: Client, topic: str) -> None:
    """300 records in three partitions: all of them, each partition in order."""
    for partition in range(3):
        await fill(client, topic, 100, partition)
    found: dict[int, list[int]] = {0: [], 1: [], 2: []}
    async for record in client.read(topic):
        assert record.offset == len(found[record.partition])
        found[record.partition].append(record.json())
    assert found == {partition: list(range(100)) for partition in range(3)}


async def test_a_live_tail_waits_for_what_comes(client: Client, topic: str) -> None:
    """Entering fixes "latest": what is stored right after is delivered, across long polls, without errors."""
    await fill(client, topic, 5)
    async with client.read(topic, start="latest", follow=True) as records:
        live = aiter(records)
        for number in range(5):
            waiting = asyncio.ensure_future(anext(live))
            await client.produce(topic, {"live": number}, partition=number % 3)
            assert (await waiting).json() == {"live": number}


async def test_following_goes_from_the_past_into_the_future(client: Client, topic: str) -> None:
    """With follow the reader gives what is there and then what comes, until the offset to stop before."""
    await fill(client, topic, 10)
    reading = asyncio.create_task(numbers(client, topic, start=5, end=12, follow=True))
    for number in (10, 11, 12):
        await client.produce(topic, number, partition=0)
    assert await reading == [5, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("how", [break_off, break_off_midway, None])
async def test_reading_goes_on_through_trouble(front: Front, client: Client, topic: str, how: Any) -> None:
    """Every second answer breaks off or is a refusal: the reader gives every record once, in order."""
    await fill(client, topic, 1000)
    count = 0

    async def disturb(request: web.Request, body: bytes) -> web.StreamResponse | None:
        nonlocal count
        count += 1
        if request.method != "GET" or count % 2:
            return None
        return await how(request) if how else problem(503, "unavailable", retry_after_s=0.01)

    front.after = disturb
    async with Client(front.url) as other:
        reader = other.read(topic, 0, prefetch_bytes=1)
        assert [record.json() async for record in reader] == list(range(1000))


async def test_a_connection_that_is_cut_and_comes_back(node_url: str, client: Client, topic: str) -> None:
    """All connections break while a reader waits at the tail; it goes on when the network does."""
    host, port = node_url.removeprefix("http://").split(":")
    proxy = await FaultProxy((host, int(port))).start()
    try:
        url = f"http://{proxy.address[0]}:{proxy.address[1]}"
        async with Client(url) as other, other.read(topic, 0, follow=True) as records:
            live = aiter(records)
            await client.produce(topic, 1, partition=0)
            assert (await anext(live)).json() == 1
            waiting = asyncio.ensure_future(anext(live))
            proxy.cut()
            await client.produce(topic, 2, partition=0)
            proxy.heal()
            assert (await waiting).json() == 2
    finally:
        await proxy.stop()


async def test_damage_on_the_way_is_found(front: Front, client: Client, topic: str) -> None:
    """One flipped bit in an answer never reaches the consumer as data."""
    await fill(client, topic, 20)

    async def damage(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if not request.path.endswith("/records"):
            return None
        assert front._session is not None
        async with front._session.get(front.target + request.path_qs, headers=request.headers) as answer:
            content = bytearray(await answer.read())
            content[len(content) // 2] ^= 4
            passed = {name: value for name, value in answer.headers.items() if name.startswith("Log-")}
            return web.Response(body=bytes(content), headers=passed)

    async def damage_once(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.query.get("verify"):  # When it asks again there is no answer in time.
            await asyncio.Event().wait()
        return await damage(request, body)

    for trouble in (damage, damage_once):
        front.trouble = trouble
        async with Client(front.url, timeout_s=2) as other:
            with pytest.raises(InvalidBatch):
                await numbers(other, topic)


async def test_nobody_there_is_an_error_in_time(topic: str) -> None:
    """A reader whose nodes are all down says so when its time is up, instead of waiting for ever."""
    async with Client("http://127.0.0.1:1", timeout_s=0.3) as client:
        with pytest.raises(TransportError):
            await numbers(client, topic)
        with pytest.raises(TransportError):
            async with client.read(topic, follow=True):
                pass


async def test_following_ends_when_nothing_comes(client: Client, topic: str) -> None:
    """By idle time, which is not counted while the program is busy with what it has."""
    await fill(client, topic, 3)
    assert await numbers(client, topic, follow=True, idle_s=1.5) == [0, 1, 2]
    with pytest.raises(InvalidRequest):
        client.read(topic, idle_s=0)


async def test_following_is_ended_from_outside(client: Client, topic: str) -> None:
    """``stop`` ends the loop as the log's end does, after what has arrived; twice is once."""
    await fill(client, topic, 3)
    reader = client.read(topic, 0, follow=True)
    seen = []
    async for record in reader:
        seen.append(record.json())
        if len(seen) == 3:
            reader.stop()
            reader.stop()
    assert seen == [0, 1, 2]


async def test_leaving_a_loop_stops_the_reader(client: Client, topic: str) -> None:
    """After a break no fetch goes on and no task is left, though nobody closed anything."""
    await fill(client, topic, 50)

    async def first() -> ConsumedRecord | None:
        async for record in client.read(topic, follow=True):
            return record
        return None

    record = await first()
    assert record is not None
    gc.collect()
    pumps = [task for task in asyncio.all_tasks() if "_pump" in repr(task.get_coro())]
    assert len(pumps) == 3
    await asyncio.wait(pumps, timeout=60)
    assert all(pump.cancelled() for pump in pumps)


async def test_closing_the_client_ends_its_readers(node_url: str, topic: str) -> None:
    """A loop that waits at the tail ends with an error when the client is closed elsewhere."""
    client = Client(node_url)
    reader = client.read(topic, follow=True)
    await reader.open()
    waiting = asyncio.create_task(anext(aiter(reader)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(TransportError):
        await waiting
    await client.close()


async def test_a_slow_consumer_holds_the_fetching_back(front: Front, client: Client, topic: str) -> None:
    """With nobody taking records, fetching stops at the budget; then everything arrives."""
    async with client.producer(topic, batch_bytes=100_000) as producer:
        for _ in range(40):
            await producer.send(bytes(100_000), partition=0)
    async with Client(front.url) as other:
        front.seen.clear()
        reader = other.read_batches(topic, 0, prefetch_bytes=300_000)
        batches = aiter(reader)
        await anext(batches)
        quiet = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, quiet.set)
        await quiet.wait()
        assert len(front.seen) <= 8
        count = 1
        async for _ in batches:
            count += 1
        assert count == 40
