"""Dead letters at the limits: of headers, of a record, of a batch, of their topic, and of several topics."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from floodmark import Action, Client, ConsumedRecord, DeadLetter, Outcome, QueueInfo, QueueRecord, Settlement
from floodmark.format import batch as codec
from floodmark.format.limits import BATCH_BYTES_MAX, RECORD_HEADERS_MAX
from floodmark.format.record import Record
from floodmark.queues.descriptions import Ordering
from structlog.testing import capture_logs

from node.coordinator.delivery import dead_letters
from tests.http.test_queue_command import Shell
from tests.node.test_queue_routes import _roles
from tests.support.nodes import NodeCluster, TestNode

BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
LIMIT = 20_000
ADDED = 10
"""Headers that a letter has more than its record."""


async def store(cluster: NodeCluster, *records: Record, zstd: bool = False) -> None:
    for record in records:
        batch = codec.encode([record], format=2, codec=codec.CODEC_ZSTD if zstd else codec.CODEC_NONE)
        url = f"{cluster['n1'].url}/v1/topics/orders/partitions/0/records"
        async with cluster.session.post(url, data=io.BytesIO(batch), headers=BATCH) as answer:
            assert answer.status == 200, await answer.text()


async def received(client: Client, count: int) -> list[QueueRecord]:
    got: list[QueueRecord] = []
    while len(got) < count:
        got += await client.queues.receive("jobs", count - len(got), wait_s=10)
    return sorted(got, key=lambda record: record.offset)


async def reject(client: Client, records: Sequence[QueueRecord], reason: str = "no good") -> None:
    settlements = [Settlement(record.receipt, Action.REJECT, reason=reason) for record in records]
    assert set(await client.queues.settle("jobs", settlements)) == {Outcome.DONE}


async def letters(client: Client) -> list[DeadLetter]:
    """In order of their numbers, once none is on its way: stored, and not only decided."""
    while True:
        info = await until(client, lambda queue: not queue.dying)
        found = [letter async for letter in client.queues.dead("jobs")]
        if len(found) == info.dead:
            assert not info.lost
            return found


async def until(client: Client, holds: Any) -> QueueInfo:
    async with asyncio.timeout(20):
        while not holds(info := await client.queues.describe("jobs")):  # noqa: ASYNC110 - others do it
            await asyncio.sleep(0.02)
    return info


Seen = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value, headers."""


def seen_in(found: QueueRecord | ConsumedRecord) -> Seen:
    return found.key, found.value, list(found.headers.pairs)


def seen_in_document(found: Any) -> Seen:
    """Of JSON or MessagePack."""
    key, value = (
        _bytes(found[name]) if name in found else _bytes_64(found, name) for name in ("key", "value")
    )
    return key, value, [(name, _bytes(text)) for name, text in found["headers"].items()]


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _bytes_64(found: Any, name: str) -> bytes:
    return base64.b64decode(found[f"{name}_b64"])


async def read_by_http(cluster: NodeCluster, node: TestNode, offset: int, media: str) -> Seen:
    url = f"{node.url}/v1/topics/jobs.dead/partitions/0/records?from={offset}&max_bytes=1"
    async with cluster.session.get(url, headers={"Accept": media}) as answer:
        body = await answer.read()
        assert answer.status == 200, body[:500]
    read = json.loads if media.endswith("json") else msgspec.msgpack.decode
    return seen_in_document(read(body)["records"][0])


@pytest.mark.parametrize("nodes", [1, pytest.param(4, marks=pytest.mark.long)])
async def test_a_letter_is_its_whole_record_though_that_is_at_every_limit(tmp_path: Path, nodes: int) -> None:
    """Of headers and of bytes: at every node, in JSON and MessagePack, in Python and on the command line."""
    rng = random.Random(7)
    headers: list[tuple[str, bytes | None]] = [(f"h{number}", b"v") for number in range(RECORD_HEADERS_MAX)]
    many = Record(None, b"k", b"x", pairs=headers)
    full = Record(None, b"k", rng.randbytes(LIMIT - many.size + 1), pairs=headers)
    many.check(LIMIT)
    assert full.size == LIMIT
    with capture_logs():  # Else the log would be taken for what the command prints.
        async with (
            NodeCluster.running(tmp_path, nodes) as cluster,
            Client(cluster["n1"].url) as client,
        ):
            await client.topics.create("orders", replication_factor=1, config={"max_record_bytes": LIMIT})
            await client.queues.put("jobs", "orders")
            assert (await client.topics.describe("jobs.dead")).config.max_record_bytes == LIMIT
            await store(cluster, many, full)
            await reject(client, await received(client, 2), "r" * 1_000)
            found = await letters(client)
            assert [letter.reason for letter in found] == ["r" * 1_000] * 2
            for node in await _roles(cluster) if nodes > 1 else cluster.up:
                for letter, record in zip(found, (many, full), strict=True):
                    await _is_whole(cluster, node, letter, record)


async def _is_whole(cluster: NodeCluster, node: TestNode, letter: DeadLetter, record: Record) -> None:
    assert letter.dead_letter is not None
    offset = letter.dead_letter.offset
    async with Client(node.url) as client:
        shown = (await client.queues.dead_letter("jobs", letter.id)).record
        assert shown is not None
        async with client.read("jobs.dead", partition=0, start=offset) as reader:
            consumed = await anext(aiter(reader))
    printed = json.loads((await Shell(node.url)("dead", "show", "jobs", letter.id)).stdout)["record"]
    for key, value, pairs in (
        seen_in(shown),
        seen_in(consumed),
        seen_in_document(printed),
        await read_by_http(cluster, node, offset, "application/json"),
        await read_by_http(cluster, node, offset, "application/vnd.msgpack"),
    ):
        assert (key, value, pairs[:-ADDED]) == (record.key, record.value, record.pairs)
        assert dict(pairs[-ADDED:])["floodmark-dead-offset"] == b"%d" % letter.offset
        assert dict(pairs[-ADDED:])["floodmark-dead-reason"] == letter.reason.encode()


@pytest.mark.long
@pytest.mark.parametrize("zstd", [True, False])
async def test_what_could_be_stored_once_can_be_stored_as_a_letter(tmp_path: Path, zstd: bool) -> None:
    """A record that fills a whole batch is compressed, and if that is no use has no headers more. It is read
    at every node, and delivered again there."""
    size = BATCH_BYTES_MAX - (100 if not zstd else 1)
    value = b"z" * size if zstd else random.Random(7).randbytes(size)
    async with NodeCluster.running(tmp_path, 4) as cluster, Client(cluster["n1"].url) as client:
        limit = {"max_record_bytes": BATCH_BYTES_MAX}
        await client.topics.create("orders", config=limit, replication_factor=1)
        await client.topics.create("jobs.dead", config=limit, replication_factor=2)
        await client.queues.put("jobs", "orders")
        await store(cluster, Record(None, b"k", value), zstd=zstd)
        await reject(client, await received(client, 1))
        (letter,) = await letters(client)
        assert (letter.reason, letter.topic, letter.offset) == ("no good", "orders", 0)
        for node in await _roles(cluster):
            assert letter.dead_letter is not None
            offset = letter.dead_letter.offset
            async with Client(node.url) as there:
                shown = (await there.queues.dead_letter("jobs", letter.id)).record
                assert shown is not None
                async with there.read("jobs.dead", partition=0, start=offset) as reader:
                    consumed = await anext(aiter(reader))
                for record in (shown, consumed):
                    assert (record.key, record.value == value) == (b"k", True)
                    assert len(record.headers.pairs) == (ADDED if zstd else 0)
                await there.queues.replay("jobs")
                (again,) = await received(there, 1)
                assert again.value == value
                await reject(there, [again])
            (letter,) = await letters(client)


async def test_a_letter_that_its_topic_does_not_allow_holds_back_letters_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it are stored, those behind it wait with it, and records go on. The queue says so, and
    all are stored once its topic allows it."""
    monkeypatch.setattr(dead_letters, "UNWRITABLE_S", 0.2)
    monkeypatch.setattr(dead_letters, "AGAIN_MAX_S", 0.1)
    async with NodeCluster.running(tmp_path, 1) as cluster, Client(cluster["n1"].url) as client:
        await client.topics.create("orders")
        await client.topics.create("jobs.dead", config={"max_record_bytes": 1_000})
        await client.queues.put("jobs", "orders")
        sizes = [1, 999, 1_000, 1]
        await store(cluster, *(Record(None, b"k", bytes(size)) for size in sizes))
        await reject(client, await received(client, 4))
        found = await until(client, lambda queue: queue.health and queue.dying == 2)
        assert (found.health, found.dead, found.depth) == (["dead_letters_unwritable"], 2, 2)
        warnings = cluster["n1"].broker.health().warnings
        assert any("dead_letters_unwritable" in each for each in warnings)
        await store(cluster, Record(None, b"k", b"more"))
        (more,) = await received(client, 1)
        await client.queues.settle("jobs", [Settlement(more.receipt, Action.ACK)])
        await client.topics.alter("jobs.dead", config={"max_record_bytes": 1_001})
        there = await letters(client)
        assert [letter.offset for letter in there] == [0, 1, 2, 3]
        assert [letter.dead_letter and letter.dead_letter.offset for letter in there] == [0, 1, 2, 3]
        for letter, size in zip(there, sizes, strict=True):
            record = (await client.queues.dead_letter("jobs", letter.id)).record
            assert record is not None
            assert record.value == bytes(size)
        assert (await client.queues.describe("jobs")).health == []


@pytest.mark.parametrize("ordering", ["key", pytest.param("none", marks=pytest.mark.long)])
async def test_letters_in_a_former_topic_are_letters_all_the_same(tmp_path: Path, ordering: Ordering) -> None:
    """Listed, shown, replayed from where they are; who dies again goes where letters go now, and says where
    it came from first. Those of a topic that is gone keep nobody from being replayed."""
    async with NodeCluster.running(tmp_path, 1) as cluster, Client(cluster["n1"].url) as client:
        admin = client.queues
        await client.topics.create("orders")
        await admin.put("jobs", "orders", ordering=ordering)
        await store(cluster, *(Record(None, b"k%d" % number, b"%d" % number) for number in range(3)))
        await reject(client, await received(client, 3))
        await letters(client)
        assert (await admin.put("jobs", "orders", dead_letter_topic="second")).dead == 3
        await store(cluster, Record(None, b"k3", b"3"))
        await reject(client, await received(client, 1))
        found = await letters(client)
        assert [_place(letter) for letter in found] == [
            *(("jobs.dead", offset) for offset in range(3)),
            ("second", 0),
        ]
        shown = [(await admin.dead_letter("jobs", letter.id)).record for letter in found]
        assert [record and record.value for record in shown] == [b"0", b"1", b"2", b"3"]

        assert await admin.replay("jobs", [found[0].id, found[3].id]) == 2
        again = {record.value: record for record in await received(client, 2)}
        assert {(each.topic, value) for value, each in again.items()} == {
            ("jobs.dead", b"0"),
            ("second", b"3"),
        }
        await reject(client, [again[b"0"]], "still")
        await admin.settle("jobs", [Settlement(again[b"3"].receipt, Action.ACK)])
        (once_more,) = [letter for letter in await letters(client) if letter.reason == "still"]
        assert _place(once_more) == ("second", 1)
        record = (await admin.dead_letter("jobs", once_more.id)).record
        assert record is not None
        said = dict(record.headers)
        assert [said[f"floodmark-dead-{name}"] for name in ("topic", "partition", "offset")] == [
            "orders",
            "0",
            "0",
        ]

        await admin.put("jobs", "orders", dead_letter_topic="jobs.dead")
        await store(cluster, Record(None, b"k4", b"4"))
        await reject(client, await received(client, 1))
        assert sorted(map(_place, await letters(client))) == [
            *(("jobs.dead", offset) for offset in (1, 2, 3)),
            ("second", 1),
        ]
        await client.topics.delete("second")
        gone = next(letter for letter in await letters(client) if letter.reason == "still")
        assert _place(gone) == (None, 1)
        assert (await admin.dead_letter("jobs", gone.id)).record is None
        assert await admin.replay("jobs", key_prefix="k") == 3
        assert [record.value for record in await received(client, 3)] == [b"1", b"2", b"4"]
        assert await admin.replay("jobs") == 0
        assert await admin.purge_dead("jobs") == 1
        assert (await admin.describe("jobs")).dead == 3


def _place(letter: DeadLetter) -> tuple[str | None, int]:
    assert letter.dead_letter is not None
    return letter.dead_letter.topic, letter.dead_letter.offset


@pytest.mark.long
async def test_letters_that_cannot_be_stored_are_dropped_where_there_are_to_be_none(tmp_path: Path) -> None:
    """And counted: so a queue can be helped whose dead letter topic is gone."""
    async with NodeCluster.running(tmp_path, 1) as cluster, Client(cluster["n1"].url) as client:
        await client.topics.create("orders")
        await client.queues.put("jobs", "orders")
        await client.topics.delete("jobs.dead")
        await store(cluster, Record(None, b"k", b"0"), Record(None, b"k", b"1"))
        await reject(client, await received(client, 2))
        assert (await client.queues.describe("jobs")).dying == 2
        await client.queues.put("jobs", "orders", dead_letter_topic=None)
        found = await until(client, lambda queue: not queue.dying)
        assert (found.depth, found.dead, found.lost, found.health) == (0, 0, 2, [])
