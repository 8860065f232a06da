"""Producing to a real HTTP server, with trouble on the way."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter, defaultdict

import pytest
from aiohttp import web
from floodmark import Client
from floodmark.errors import (
    FloodmarkError,
    InvalidRequest,
    OutcomeUnknown,
    ProducerFenced,
    SequenceReused,
    TooLarge,
    TransportError,
    UnknownPartition,
    UnknownTopic,
)
from floodmark.format import batch
from floodmark.producer.partitioner import partition_for
from floodmark.transport.nodes import Nodes

from tests.client.front import Front, break_off, break_off_midway, no_trouble, problem


async def values_of(client: Client, topic: str, partition: int | None = None) -> list[bytes]:
    """All values, in the order of reading."""
    return [record.value async for record in client.read(topic, partition)]


async def test_one_record_comes_back_as_it_went(client: Client, topic: str) -> None:
    """Key, headers, time and value of bytes and of JSON; the place is the one that was answered."""
    stored = await client.produce(topic, {"id": 1}, key="u1", headers={"h": "v"}, timestamp=1357035300000)
    assert stored.partition == partition_for(b"u1", 3)
    raw = await client.produce(topic, b"\x00\xff", partition=stored.partition)
    assert (stored.offset, raw.offset) == (0, 1)
    first, second = [record async for record in client.read(topic, stored.partition)]
    assert (first.partition, first.offset, first.key, first.headers) == (
        stored.partition,
        0,
        b"u1",
        {"h": "v"},
    )
    assert (first.json(), first.timestamp) == ({"id": 1}, 1357035300000)
    assert first.append_time > first.timestamp
    assert (second.value, second.is_json, second.key) == (b"\x00\xff", False, None)
    with pytest.raises(InvalidRequest):
        second.json()


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_many_records_keep_their_order_by_key(client: Client, topic: str, compression: str) -> None:
    """5,000 records of 20 keys in small batches: each has its place, and each key its order."""
    async with client.producer(topic, linger_ms=1, batch_bytes=5000, compression=compression) as producer:
        acks = [await producer.send({"n": number}, key=f"k{number % 20}") for number in range(5000)]
    places = [ack.result() for ack in acks]
    by_place = {}
    last: dict[bytes | None, int] = defaultdict(lambda: -1)
    async for record in client.read(topic):
        number = record.json()["n"]
        by_place[record.partition, record.offset] = number
        assert number > last[record.key]
        last[record.key] = number
    assert [by_place[place] for place in places] == list(range(5000))


async def test_lists_are_sent_at_once(client: Client, topic: str) -> None:
    """send_many answers a place for each value, with keys, without them, and for one partition."""
    async with client.producer(topic, batch_bytes=2000) as producer:
        plain = await producer.send_many([b"%d" % n for n in range(1000)])
        keyed = await producer.send_many(list(range(100)), keys=[f"k{n}" for n in range(100)])
        fixed = await producer.send_many([b"x", {"y": 1}], partition=2)
        places = await plain + await keyed + await fixed
        assert plain.done()
        assert (len(plain), len(keyed), len(fixed)) == (1000, 100, 2)
        assert [await ack for ack in plain.acks()] == await plain
    assert len(set(places)) == 1102
    assert all(place.partition == 2 for place in await fixed)
    stored = {(r.partition, r.offset): r.value async for r in client.read(topic)}
    assert [stored[place] for place in places[:1000]] == [b"%d" % n for n in range(1000)]
    assert [stored[place] for place in places[1000:1100]] == [b"%d" % n for n in range(100)]


@pytest.mark.parametrize("partitions", [2, 3])
@pytest.mark.parametrize("in_lists", [False, True])
async def test_records_without_keys_go_to_all_partitions_in_turn(
    client: Client, in_lists: bool, partitions: int
) -> None:
    """Batches that no whole number of records fills: each partition gets as many of them as the others."""
    await client.topics.create("in-turn", partitions=partitions)
    async with client.producer("in-turn", linger_ms=60_000, batch_bytes=1000) as producer:
        values = [bytes(100)] * (7 * 4 * partitions)  # 132 bytes are counted for each: 7 fit into a batch.
        if in_lists:
            acks = (await producer.send_many(values)).acks()
        else:
            acks = [await producer.send(value) for value in values]
    assert Counter(ack.partition for ack in acks) == dict.fromkeys(range(partitions), 7 * 4)


async def test_small_batches_without_keys_stay_with_a_partition_for_its_share(
    client: Client, topic: str
) -> None:
    """Each record leaves alone; a partition gets half of what a batch may have before the next one's turn."""
    async with client.producer(topic, linger_ms=0, batch_bytes=10_000) as producer:
        # 1,000 bytes are counted for each.
        places = [await (await producer.send(bytes(968))) for _ in range(20)]
    runs = [(partition, len(list(run))) for partition, run in itertools.groupby(p.partition for p in places)]
    first = runs[0][0]
    assert runs == [((first + turn) % 3, 5) for turn in range(4)]


async def test_calls_at_the_same_time_share_batches(front: Front, client: Client, topic: str) -> None:
    """200 concurrent produce calls take a handful of requests, and each gets its own place."""
    await client.produce(topic, b"first", partition=0)
    before = len(front.seen)
    places = await asyncio.gather(*(client.produce(topic, n, partition=0) for n in range(200)))
    assert [place.offset for place in places] == list(range(1, 201))
    assert len(front.seen) - before < 20


async def test_a_node_that_is_not_up_yet_is_waited_for(
    node_url: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused at first, served once the node listens; within the deadline that is no error."""
    refused = asyncio.Event()
    failed = Nodes.failed

    def note(self: Nodes, url: str, route: str | None) -> None:
        failed(self, url, route)
        refused.set()

    monkeypatch.setattr(Nodes, "failed", note)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    async with Client(f"http://127.0.0.1:{port}") as client:
        produce = asyncio.create_task(client.produce(topic, b"patient", partition=0))
        await refused.wait()
        front = await Front(node_url).start(port)
        try:
            assert (await produce).offset == 0
        finally:
            await front.stop()


async def test_nobody_there_is_an_error_in_time(topic: str) -> None:
    """With all nodes down a call ends at its deadline with TransportError: certainly not stored."""
    async with Client(["http://127.0.0.1:1", "http://127.0.0.1:2"], timeout_s=0.3) as client:
        with pytest.raises(TransportError) as caught:
            await client.produce(topic, b"x")
        assert caught.value.fields["sent"] is False


async def test_a_wrong_hint_costs_a_detour_and_no_record(front: Front, client: Client, topic: str) -> None:
    """The leader's address in the answers leads nowhere: the client goes back to the node it knows."""

    async def lie(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        return problem_with_hint()

    def problem_with_hint() -> web.Response:
        front.trouble = no_more
        answer = problem(503, "unavailable")
        answer.headers["Floodmark-Leader-Url"] = "http://127.0.0.1:1"
        return answer

    async def no_more(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return None

    front.trouble = lie
    assert (await client.produce(topic, b"a", partition=0)).offset == 0
    assert (await client.produce(topic, b"b", partition=0)).offset == 1


@pytest.mark.parametrize(
    ("status", "code"), [(503, "unavailable"), (429, "too_many_requests"), (504, "outcome_unknown")]
)
async def test_what_may_pass_is_waited_out(
    front: Front, client: Client, topic: str, status: int, code: str
) -> None:
    """Three refusals and then an answer: the record is stored once."""
    left = [problem(status, code, retry_after_s=0.01) for _ in range(3)]

    async def refuse(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return left.pop() if request.method == "POST" and left else None

    front.trouble = refuse
    assert (await client.produce(topic, b"x", partition=0)).offset == 0
    assert not left
    assert await values_of(client, topic) == [b"x"]


@pytest.mark.parametrize("how", [break_off, break_off_midway])
async def test_a_lost_answer_stores_nothing_twice(
    front: Front, client: Client, topic: str, how: object
) -> None:
    """Every second answer is lost after the batch is stored: all records are there, once, in order."""
    count = 0

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        nonlocal count
        if request.method != "POST":
            return None
        count += 1
        return await how(request) if count % 2 else None  # type: ignore[operator]

    front.after = lose
    async with client.producer(topic, batch_bytes=300, linger_ms=0) as producer:
        acks = [await producer.send(b"%03d" % n, partition=1) for n in range(100)]
        places = [await ack for ack in acks]
    assert [place.offset for place in places] == list(range(100))
    assert await values_of(client, topic, 1) == [b"%03d" % n for n in range(100)]
    assert count > 10


async def test_a_stale_refusal_after_a_lost_answer_stores_nothing_twice(
    front: Front, client: Client, topic: str
) -> None:
    """A batch's answer is lost, and a node that was deposed unawares calls its retry a gap, two behind."""
    posts: list[int] = []

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return await break_off(request) if request.method == "POST" and len(posts) == 4 else None

    async def refuse(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        posts.append(batch.decode_header(body).sequence)
        return problem(409, "sequence_gap", expected_sequence=1, current_epoch=0) if len(posts) == 5 else None

    front.trouble, front.after = refuse, lose
    async with client.producer(topic, linger_ms=0) as producer:
        places = [await (await producer.send(b"%d" % n, partition=0)) for n in range(6)]
    assert [place.offset for place in places] == list(range(6))
    assert await values_of(client, topic, 0) == [b"%d" % n for n in range(6)]
    assert posts == [0, 1, 2, 3, 3, 3, 4, 5]


@pytest.mark.parametrize("is_odd", [True, False])
async def test_a_proxys_answer_leaves_open_whether_the_batch_is_stored(
    front: Front, topic: str, is_odd: bool
) -> None:
    """An odd one is followed by a second try, of which a node says rightly that it was not stored; the other
    is a 503 of the proxy's own. The outcome is unknown, and not "not stored"."""
    answered = 0

    async def odd(request: web.Request, body: bytes) -> web.StreamResponse | None:
        nonlocal answered
        if request.method != "POST":
            return None
        answered += 1
        if not is_odd:
            return web.Response(status=503, text="upstream reset")
        if answered > 1:
            return problem(503, "unavailable")
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"{}")
        await response.write_eof()
        return response

    front.after = odd
    async with Client(front.url) as client:
        producer = client.producer(topic, delivery_timeout_s=1.5)
        ack = await producer.send(b"x", partition=0)
        with pytest.raises(OutcomeUnknown):
            await ack
        await producer.close()
        front.after = no_trouble
        assert await values_of(client, topic, 0) == [b"x"]


async def test_without_numbers_a_lost_answer_is_unknown(front: Front, client: Client, topic: str) -> None:
    """A producer that is not idempotent does not send again what may be stored; it says so."""

    async def lose(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return await break_off(request) if request.method == "POST" else None

    front.after = lose
    producer = client.producer(topic, idempotent=False)
    ack = await producer.send(b"x", partition=0)
    with pytest.raises(OutcomeUnknown):
        await ack
    await producer.close()
    assert await values_of(client, topic) == [b"x"]


async def test_a_fenced_producer_ends(client: Client, topic: str) -> None:
    """Once a higher epoch has written, the older instance fails, and stays failed."""
    old = client.producer(topic, name="orders-writer", epoch=1)
    new = client.producer(topic, name="orders-writer", epoch=2)
    assert (await (await old.send(b"old", partition=0))).offset == 0
    assert (await (await new.send(b"new", partition=0))).offset == 1
    ack = await old.send(b"too late", partition=0)
    with pytest.raises(ProducerFenced):
        await ack
    with pytest.raises(ProducerFenced):
        await old.send(b"still too late", partition=0)
    await old.close()
    await new.close()
    assert await values_of(client, topic) == [b"old", b"new"]


async def test_a_second_producer_of_the_same_name_and_epoch_ends(client: Client, topic: str) -> None:
    """Its records are not taken for those that the other one stored under these sequences."""
    one = client.producer(topic, name="orders-writer", epoch=1)
    other = client.producer(topic, name="orders-writer", epoch=1)
    assert (await (await one.send(b"one", partition=0))).offset == 0
    ack = await other.send(b"other", partition=0)
    with pytest.raises(SequenceReused) as refused:
        await ack
    assert (refused.value.fields["first_offset"], refused.value.fields["next_offset"]) == (0, 1)
    with pytest.raises(SequenceReused):
        await other.send(b"more of the other", partition=0)
    await other.close()
    await one.close()
    assert await values_of(client, topic) == [b"one"]


async def test_a_node_that_hangs_ends_at_the_deadline(front: Front, topic: str) -> None:
    """No answer at all: the outcome is unknown, and says so when the time is up."""
    never = asyncio.Event()

    async def hang(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST":
            await never.wait()
        return None

    front.trouble = hang
    async with Client(front.url, request_timeout_s=1) as client:
        with pytest.raises(OutcomeUnknown):
            await client.produce(topic, b"x", partition=0, timeout_s=1.5)


async def test_closing_in_the_middle_returns_and_settles_everything(front: Front, topic: str) -> None:
    """A client that is closed while its node hangs comes back after the delivery timeout; every
    acknowledgement says what is known, and no task is left."""
    before = asyncio.all_tasks()
    never, arrived = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST":
            arrived.set()
            await never.wait()
        return None

    front.trouble = hang
    client = Client(front.url, request_timeout_s=5)
    producer = client.producer(topic, delivery_timeout_s=0.3, batch_bytes=100, in_flight_max=2)
    acks = [await producer.send(b"x" * 60, partition=0) for _ in range(5)]
    await arrived.wait()
    sending = asyncio.create_task(producer.send(b"y" * 60, partition=0))
    await client.close()
    for ack in acks:
        assert ack.done()
        with pytest.raises((OutcomeUnknown, TransportError)):
            ack.result()
    with pytest.raises(FloodmarkError):
        await (await sending)
    with pytest.raises(TransportError):
        await producer.send(b"after the end")
    assert producer.memory_bytes == 0
    left = [t for t in asyncio.all_tasks() - before if "floodmark" in repr(t.get_coro())]
    assert not left


async def test_memory_is_bounded_while_nothing_leaves(front: Front, client: Client, topic: str) -> None:
    """With the node held up, sends wait at the bound; when it goes on, all arrive, in order."""
    go_on = asyncio.Event()

    async def hold(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.method == "POST":
            await go_on.wait()
        return None

    front.trouble = hold
    producer = client.producer(topic, memory_bytes_max=10_000, batch_bytes=1000, linger_ms=0)
    highest = 0
    acks = []

    async def send_all() -> None:
        nonlocal highest
        for number in range(200):
            acks.append(await producer.send(b"%0200d" % number, partition=0))
            highest = max(highest, producer.memory_bytes)

    sending = asyncio.create_task(send_all())
    done, _ = await asyncio.wait([sending], timeout=0.2)
    assert not done
    assert len(acks) < 50
    go_on.set()
    await sending
    await producer.flush()
    await producer.close()
    assert 0 < highest <= 10_000
    assert [ack.result().offset for ack in acks] == list(range(200))
    assert [int(value) for value in await values_of(client, topic, 0)] == list(range(200))


async def test_errors_that_nobody_looked_at_are_raised_at_the_end(
    front: Front, client: Client, topic: str
) -> None:
    """Leaving the producer raises what no acknowledgement has shown, once."""

    async def refuse(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return problem(507, "storage_full") if request.method == "POST" else None

    front.trouble = refuse
    with pytest.raises(FloodmarkError):
        async with client.producer(topic, delivery_timeout_s=0.2) as producer:
            await producer.send(b"x")
    async with client.producer(topic, delivery_timeout_s=0.2) as producer:
        ack = await producer.send(b"x")
        with pytest.raises(FloodmarkError):
            await ack


async def test_what_cannot_be_stored_is_refused_before_it_is_taken_in(client: Client, topic: str) -> None:
    """Too large, no such partition, no such topic, no such option: each at once, with nothing sent."""
    async with client.producer(topic) as producer:
        with pytest.raises(TooLarge):
            await producer.send(bytes(2 << 20))
        with pytest.raises(TooLarge):
            await producer.send_many([b"fine", bytes(2 << 20)])
        with pytest.raises(UnknownPartition):
            await producer.send(b"x", partition=3)
        assert producer.is_idle
    with pytest.raises(UnknownTopic):
        async with client.producer("nowhere"):
            pass
    for options in (
        {"acks": "all"},
        {"compression": "gzip"},
        {"batch_bytes": 0},
        {"name": "n"},
        {"in_flight_max": 9},
    ):
        with pytest.raises(InvalidRequest):
            client.producer(topic, **options)
    assert await values_of(client, topic) == []


async def test_batches_leave_while_records_are_taken_in(client: Client, topic: str) -> None:
    """A loop of sends that never has to wait does not keep full batches back until its end."""
    async with client.producer(topic, batch_bytes=100_000) as producer:
        acks = [await producer.send(bytes(10_000), partition=0) for _ in range(1000)]
        assert acks[0].done()


async def test_a_record_of_several_megabytes(client: Client) -> None:
    """Where the topic allows it, a record larger than a batch goes alone, and comes back whole."""
    await client.topics.create("large", config={"max_record_bytes": 5 << 20})
    values = [bytes([number]) * (4 << 20) for number in range(3)]
    async with client.producer("large", batch_bytes=1000) as producer:
        for value in values:
            await producer.send(value)
    assert await values_of(client, "large") == values


async def test_weaker_promises_can_be_asked_for(client: Client, topic: str) -> None:
    """acks=leader answers offsets as well; acks=none answers that it took the record."""
    assert (await client.produce(topic, b"l", partition=0, acks="leader")).offset == 0
    assert (await client.produce(topic, b"n", partition=0, acks="none")).offset == -1
