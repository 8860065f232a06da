"""``client.process``: what it stores, how it goes on, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import msgspec
import pytest
from floodmark import Client, ConsumedRecord, FloodmarkError, Output
from floodmark import sync as floodmark_sync
from floodmark.errors import InvalidRequest, NotUsable, ProducerFenced
from floodmark.processor.options import Made

from node.metadata.levels import GROUPS, MOVED_POSITIONS
from tests.http.memory_broker import MemoryCluster

PARTITIONS = 2


def doubled(record: ConsumedRecord) -> Made:
    """Nothing of every third one, two of every fifth, one of the others."""
    number = record.json()
    if number % 3 == 0:
        return None
    made = Output({"of": number}, key=record.key, headers={"offset": str(record.offset)})
    return [made, Output(b"again")] if number % 5 == 0 else made


def expected(numbers: range) -> list[bytes]:
    """What a partition has where it was given these numbers."""
    found = []
    for number in numbers:
        if number % 3:
            found.append(msgspec.json.encode({"of": number}))
            found += [b"again"] if number % 5 == 0 else []
    return found


@pytest.fixture
async def client(nodes: MemoryCluster) -> AsyncIterator[Client]:
    """With a source and a target, which the first node leads: these nodes ask each other as old ones do."""
    nodes.level = GROUPS
    async with Client(nodes.urls["n1"], timeout_s=60) as client:
        for topic in ("in", "out"):
            await client.topics.create(topic, partitions=PARTITIONS)
        for log in nodes.logs.values():
            log.move("n1")
        yield client


async def fill(client: Client, numbers: range, *, timestamp: int = 5) -> None:
    """Each partition of the source gets all of them."""
    async with client.producer("in", linger_ms=0) as producer:
        for partition in range(PARTITIONS):
            keys = [f"k{number}" for number in numbers]
            await producer.send_many(list(numbers), keys=keys, partition=partition, timestamp=timestamp)


async def stored(client: Client, partition: int) -> list[bytes | None]:
    """Values of a partition of the target."""
    return [record.value async for record in client.read("out", partition)]


async def test_partition_i_is_made_into_partition_i(client: Client) -> None:
    """In order, with keys, headers and the source's times; a second run has nothing to do."""
    await fill(client, range(1, 200))
    done = await client.process("in", "out", group="g", step=doubled, follow=False)
    assert done == (PARTITIONS * 199, PARTITIONS * len(expected(range(1, 200))))
    for partition in range(PARTITIONS):
        assert await stored(client, partition) == expected(range(1, 200))
        records = [record async for record in client.read("out", partition)]
        assert (records[0].key, records[0].timestamp) == (b"k1", 5)
        assert records[0].headers["offset"] == "0"
    again = await client.process("in", "out", group="g", step=doubled, follow=False)
    assert again.records_stored == 0
    await fill(client, range(200, 260))
    more = await client.process("in", "out", group="g", step=doubled, follow=False, partitions=[1])
    assert more.records_stored == len(expected(range(200, 260)))
    assert await stored(client, 0) == expected(range(1, 200))
    assert await stored(client, 1) == expected(range(1, 260))


async def positions(nodes: MemoryCluster) -> list[int | None]:
    """What each partition of the target keeps of the group."""
    found: list[int | None] = []
    async with aiohttp.ClientSession() as session:
        for partition in range(PARTITIONS):
            url = f"{nodes.urls['n1']}/v1/topics/out/partitions/{partition}/positions/g"
            async with session.get(url) as answer:
                kept = (await answer.json())["positions"]
                found.append(kept[0]["next_offset"] if kept else None)
    return found


def nothing_of_late_ones(record: ConsumedRecord) -> Made:
    """Something of those up to 10 alone."""
    return Output(b"%d" % record.json()) if record.json() <= 10 else None


async def test_the_position_moves_also_while_nothing_is_made(client: Client, nodes: MemoryCluster) -> None:
    """At the end of a run, and as often as it is to be: the next instance reads little again."""
    nodes.level = MOVED_POSITIONS
    process = partial(client.process, "in", "out", group="g", step=nothing_of_late_ones)
    await fill(client, range(1, 11))
    assert await process(follow=False) == (20, 20)
    await fill(client, range(11, 101))
    assert await process(follow=False) == (180, 0)
    assert await positions(nodes) == [100, 100]
    assert await process(follow=False) == (0, 0)
    async with aiohttp.ClientSession() as session:  # What comes late to the first epoch is fenced.
        url = f"{nodes.urls['n1']}/v1/topics/out/partitions/0/positions/g"
        source = {"topic_id": (await client.topics.describe("in")).topic_id, "partition": 0}
        late = {**source, "producer": "x", "producer_epoch": 0, "next_offset": 200}
        async with session.put(url, json=late) as answer:
            assert answer.status == 403
    running = asyncio.create_task(process(position_every_s=0.05).run())
    await fill(client, range(101, 151))
    async with asyncio.timeout(20):
        while await positions(nodes) != [150, 150]:  # noqa: ASYNC110 - another node is asked
            await asyncio.sleep(0.01)
    await fill(client, range(1, 3))
    async for record in client.read("out", 0, follow=True, start=10):
        if record.value == b"2":
            break
    await fill(client, range(201, 251))
    running.cancel()  # As if it were killed.
    await asyncio.gather(running, return_exceptions=True)
    again = await process(follow=False)
    assert again.records_read <= 2 * 52
    assert await positions(nodes) == [202, 202]
    assert await stored(client, 0) == [b"%d" % number for number in (*range(1, 11), 1, 2)]


async def test_a_cluster_that_moves_no_positions_alone_is_processed_all_the_same(
    client: Client, nodes: MemoryCluster
) -> None:
    """Below the feature level: what came to nothing is read again."""
    process = partial(client.process, "in", "out", group="g", step=nothing_of_late_ones, follow=False)
    await fill(client, range(1, 11))
    assert await process() == (20, 20)
    await fill(client, range(11, 101))
    for _ in range(2):
        assert await process() == (180, 0)
        assert await positions(nodes) == [10, 10]


async def test_it_follows_until_it_is_stopped_and_batches_as_it_goes(client: Client) -> None:
    """With a step that waits; what has arrived when it is stopped is stored, and nothing twice."""

    async def slowly(record: ConsumedRecord) -> Made:
        await asyncio.sleep(0)
        return doubled(record)

    processor = client.process("in", "out", group="g", step=slowly, batch_bytes=300, compression="zstd")
    running = asyncio.create_task(processor.run())
    for begin in (1, 100, 150):
        await fill(client, range(begin, begin + 50))
    reader = client.read("out", 0, follow=True)
    wanted = len(expected(range(1, 51))) + len(expected(range(100, 200)))
    seen = 0
    async for _ in reader:
        seen += 1
        if seen == wanted:
            break
    processor.stop()
    await running
    await client.process("in", "out", group="g", step=doubled, follow=False)
    for partition in range(PARTITIONS):
        assert await stored(client, partition) == expected(range(1, 51)) + expected(range(100, 200))
    with pytest.raises(NotUsable):
        await processor.run()


async def test_of_two_instances_the_later_one_goes_on(client: Client) -> None:
    """The first one ends with ``ProducerFenced``, and each record is there once."""
    first = asyncio.create_task(client.process("in", "out", group="g", step=doubled).run())
    await fill(client, range(1, 50))
    for partition in range(PARTITIONS):  # Where it begins later than the second one it would fence that one.
        async for _ in client.read("out", partition, follow=True):
            break
    second = client.process("in", "out", group="g", step=doubled)
    running = asyncio.create_task(second.run())
    async with asyncio.timeout(20):
        number = 50
        while not first.done():
            await fill(client, range(number, number + 10))
            number += 10
    assert isinstance(first.exception(), ProducerFenced)
    second.stop()
    await running
    await client.process("in", "out", group="g", step=doubled, follow=False)
    for partition in range(PARTITIONS):
        assert await stored(client, partition) == expected(range(1, number))


async def test_a_step_that_fails_is_asked_again_from_what_is_stored_on(client: Client) -> None:
    """What it raises is raised; also what it returns has to be an output."""
    await fill(client, range(1, 100))
    fails = {50}

    def sometimes(record: ConsumedRecord) -> Made:
        if record.json() in fails:
            fails.clear()
            raise RuntimeError("not now")
        return doubled(record)

    with pytest.raises(RuntimeError, match="not now"):
        await client.process("in", "out", group="g", step=sometimes, follow=False)
    for wrong in ("text", {"a": 1}, 7, [1]):
        with pytest.raises(InvalidRequest, match="a step returns"):
            await client.process("in", "out", group="g", step=lambda _: wrong, follow=False)  # type: ignore[arg-type, return-value]  # noqa: B023
    await client.process("in", "out", group="g", step=sometimes, follow=False)
    for partition in range(PARTITIONS):
        assert await stored(client, partition) == expected(range(1, 100))


async def test_positions_that_were_removed_begin_anew(client: Client, nodes: MemoryCluster) -> None:
    """Behind the epochs that partitions remember of its producer; everything is made once more."""
    await fill(client, range(1, 10))
    for _ in range(3):
        await client.process("in", "out", group="g", step=doubled, follow=False)
        await fill(client, range(1, 10))
    before = len(await stored(client, 0))
    for partition in range(PARTITIONS):
        url = f"{nodes.urls['n1']}/v1/topics/out/partitions/{partition}/positions/g"
        async with aiohttp.ClientSession() as session, session.delete(url) as answer:
            assert answer.status == 204
    await client.process("in", "out", group="g", step=doubled, follow=False)
    assert len(await stored(client, 0)) == before + 4 * len(expected(range(1, 10)))


@pytest.mark.parametrize(
    ("names", "group", "options"),
    [
        (("in", "in"), "g", {}),
        (("in", "narrow"), "g", {}),
        (("in", "out"), "a/b", {}),
        (("in", "out"), "g", {"partitions": [2]}),
        (("in", "out"), "g", {"batch_bytes": 0}),
        (("in", "out"), "g", {"compression": "rar"}),
        (("in", "out"), "g", {"position_every_s": 0}),
    ],
)
async def test_what_cannot_be_is_refused(
    client: Client, names: tuple[str, str], group: str, options: dict[str, object]
) -> None:
    """Before anything is read or stored."""
    await client.topics.create("narrow", partitions=1)
    with pytest.raises(InvalidRequest):
        await client.process(*names, group=group, step=doubled, **options)  # type: ignore[arg-type]
    with pytest.raises(FloodmarkError):
        await client.process("none", "out", group="g", step=doubled, timeout_s=1)


async def test_a_program_without_an_event_loop(client: Client, nodes: MemoryCluster) -> None:
    """The step runs in one thread; another one stops it."""
    await fill(client, range(1, 100))
    url = nodes.urls["n1"]

    def work() -> int:
        with floodmark_sync.Client(url) as blocking:
            done = blocking.process("in", "out", group="g", step=doubled, follow=False).run()
            following = blocking.process("in", "out", group="g", step=doubled)
            following.stop()
            assert following.run().records_stored == 0
            return done.records_stored

    assert await asyncio.to_thread(work) == PARTITIONS * len(expected(range(1, 100)))
    assert await stored(client, 1) == expected(range(1, 100))
