"""Kafka record batches in partitions of real nodes: read through every door, at every node, as what they are.

Nothing in the product writes them yet, so these tests put them into a partition's group themselves.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import floodmark
import msgspec
import pytest
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.format import batch, kafka_check
from floodmark.format.frame import FrameKind, PayloadType
from floodmark.format.frame_records import PayloadForm, form_of, has_records
from floodmark.format.kafka_header import decode_stored_header
from floodmark.format.record import Record

from consensus.host import waiting
from consensus.types import Stored
from node.partition.producers import key_of
from node.partition.sequences import Sequences
from storage.filesystem import RealFileSystem
from storage.verify import verify
from tests.support.kafka_batches import encode
from tests.support.nodes import NodeCluster, TestNode

T = 1_700_000_000_000
PATH = "/v1/topics/k/partitions/0/records"
FIRST: list[Record | None] = [
    Record(T, b"a", b"0"),
    Record(T + 10, None, b'{"no": "json"}', pairs=[("h", b"1"), ("h", None), ("b", b"\xff")]),
    Record(T + 20, b"\xff", None),
]
HOLES: list[Record | None] = [None, Record(T + 40, b"c", b"4"), None, Record(T + 60, b"d", b"6"), None]
LONG: list[Record | None] = [Record(T + 100 + n, b"k%d" % n, b"v" * 900) for n in range(700)]
OURS = [Record(T + 2_000, b"e", b"1", is_json=True)]
PLACED: dict[int, Record] = {
    place: record for place, record in enumerate([*FIRST, *HOLES, *LONG, *OURS]) if record is not None
}
END = 3 + 5 + 700 + 1


async def append(leader: TestNode, payload: bytes, count: int, form: PayloadForm) -> Stored:
    """As the listener will: into the partition's group, with a frame that says what it is."""
    (raft_group,) = [part.raft_group for part in leader.running.metadata.state.topics["k"].partitions]
    proposal = leader.running.host.propose_nowait(
        raft_group, FrameKind.RECORDS, payload, record_count=count, form=form
    )
    return await waiting.stored(proposal, deadline_s=10)


async def fill(cluster: NodeCluster) -> None:
    """A topic of one partition and two replicas, in which Kafka's batches stand beside one of ours."""
    await cluster.create("k", replicas=2)
    leader = await cluster.leader("k")
    kafka = PayloadForm(PayloadType.KAFKA_2, 0, 2)
    await append(leader, encode(FIRST, producer=(5, 0, 0)), 3, kafka)
    await append(leader, encode(HOLES, codec="gzip"), 5, kafka)
    await append(leader, encode(LONG, codec="zstd without its size", producer=(5, 0, 3)), 700, kafka)
    made = batch.encode(OURS, format=2)
    stored = await append(leader, made, 1, form_of(batch.decode_header(made)))
    assert stored.first_offset == END - 1
    for node in cluster.up:
        await node.broker.catch_up(timeout_s=10)


def as_json(place: int) -> dict[str, Any]:
    """The members of a record's JSON form that do not depend on when it was stored."""
    record = PLACED[place]
    shown: dict[str, Any] = {"partition": 0, "offset": place}
    key = record.key
    if key is not None and not key.isascii():
        shown["key_b64"] = base64.b64encode(key).decode()
    else:
        shown["key"] = None if key is None else key.decode()
    if record.value is None:
        shown["tombstone"] = True
    elif record.is_json:
        shown["value"] = json.loads(record.value)
    else:
        shown["value_b64"] = base64.b64encode(record.value).decode()
    if record.pairs:
        shown["headers_list"] = [["h", "1"], ["h", None], ["b", {"b64": "/w=="}]]
    return shown


def _without_times(shown: dict[str, Any]) -> dict[str, Any]:
    assert dt.datetime.fromisoformat(shown["timestamp"]).timestamp() * 1000 == pytest.approx(
        PLACED[shown["offset"]].timestamp, abs=0.5
    )
    assert shown.pop("append_time")
    del shown["timestamp"]
    return shown


async def _get(cluster: NodeCluster, node: TestNode, accept: str, query: str) -> bytes:
    async with cluster.session.get(f"{node.url}{PATH}?{query}", headers={"Accept": accept}) as answer:
        body = await answer.read()
        assert answer.status == 200, body
        return body


async def in_json(cluster: NodeCluster, node: TestNode, query: str) -> list[dict[str, Any]]:
    """Of one page."""
    body = await _get(cluster, node, "application/json", query + "&max_records=1000&max_bytes=4194304")
    return [_without_times(record) for record in json.loads(body)["records"]]


async def in_lines(cluster: NodeCluster, node: TestNode, query: str) -> list[dict[str, Any]]:
    """Of a stream to the end."""
    body = await _get(cluster, node, "application/x-ndjson", query)
    return [_without_times(json.loads(line)) for line in body.splitlines()]


async def in_events(cluster: NodeCluster, node: TestNode, query: str) -> list[dict[str, Any]]:
    """Of an event stream that ends after as many records as there are."""
    count = len([place for place in PLACED if place >= int(query.partition("from=")[2] or 0)])
    body = await _get(cluster, node, "text/event-stream", f"{query}&max_records={count}")
    lines = [line for line in body.splitlines() if line.startswith(b"data: ")]
    return [_without_times(json.loads(line[6:])) for line in lines]


async def in_messagepack(cluster: NodeCluster, node: TestNode, query: str) -> list[dict[str, Any]]:
    """Of one page, put into the words of JSON."""
    body = await _get(cluster, node, "application/vnd.msgpack", query + "&max_records=1000&max_bytes=4194304")
    found = []
    for shown in msgspec.msgpack.decode(body)["records"]:
        if isinstance(shown.get("value"), bytes):
            shown["value_b64"] = base64.b64encode(shown.pop("value")).decode()
        if isinstance(shown["key"], bytes):
            shown["key_b64"] = base64.b64encode(shown.pop("key")).decode()
        if "headers_list" in shown:
            assert shown["headers_list"] == [["h", "1"], ["h", None], ["b", b"\xff"]]
            shown["headers_list"] = [["h", "1"], ["h", None], ["b", {"b64": "/w=="}]]
        found.append(_without_times(shown))
    return found


def _consumed(record: ConsumedRecord) -> Record:
    return Record(record.timestamp, record.key, record.value, record.is_json, record.pairs)


async def check_doors(cluster: NodeCluster) -> None:
    """All doors of all nodes say the same: what was put in."""
    for node in cluster.up:
        for door in (in_json, in_lines, in_events, in_messagepack):
            for start in (0, 1, 3, 4, 7, 350, END - 1):
                expected = [as_json(place) for place in PLACED if place >= start]
                found = await door(cluster, node, f"from={start}")
                assert found == expected, (node.node_id, door.__name__, start)
        for back, first in ((1, END - 1), (3, END - 3), (END - 5, 6)):
            assert (await in_json(cluster, node, f"from=-{back}"))[0]["offset"] == first
        for time, first in (
            (T, 0),
            (T + 1, 1),
            (T + 41, 6),
            (T + 61, 8),
            (T + 450, 358),
            (T + 900, END - 1),
        ):
            assert (await in_json(cluster, node, f"from=@{time}"))[0]["offset"] == first
        async with floodmark.Client(node.url) as client:
            for begin in (0, 2, 4, 400):
                read = {record.offset: _consumed(record) async for record in client.read("k", start=begin)}
                assert read == {place: record for place, record in PLACED.items() if place >= begin}
            moment = dt.datetime.fromtimestamp((T + 450) / 1000, dt.UTC)
            late = [record.offset async for record in client.read("k", start=moment)]
            assert late == list(range(358, END))
            assert [record.offset async for record in client.read("k", start=-2)] == [END - 2, END - 1]


async def test_kafkas_batches_are_read_through_every_door_at_every_node(tmp_path: Path) -> None:
    """At the leader, a follower and a node without a replica; another leader; a start anew; offline."""
    async with NodeCluster.running(tmp_path) as cluster:
        await fill(cluster)
        await check_doors(cluster)
        raft_group = cluster["n1"].running.metadata.state.topics["k"].partitions[0].raft_group
        after = await cluster.hand_over("k")
        assert [shown["offset"] for shown in await in_json(cluster, after, "from=0")] == list(PLACED)
        replicas = cluster["n1"].broker.topic("k").partitions[0].replicas
        tables = [
            cluster[name].running.replicas.local[raft_group].appender._table.producers for name in replicas
        ]
        assert tables[0] == tables[1]
        for node in cluster.nodes.values():
            await node.stop()
        reports = {
            report.path: report
            for name in replicas
            for report in verify(RealFileSystem(), str(cluster[name].data_dir))
            if report.path.endswith(f"/{raft_group}")
        }
        assert [(report.is_sound, report.is_too_new, report.records) for report in reports.values()] == [
            (True, False, END)
        ] * 2
        assert len({report.digest for report in reports.values()}) == 1
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        await cluster.leader("k")
        await check_doors(cluster)


async def test_what_was_stored_is_what_was_sent(tmp_path: Path) -> None:
    """Byte for byte; and the table of producers knows the producer, its epoch and the next sequence."""
    sent = encode(FIRST, producer=(5, 1, 0))
    header = kafka_check.check(sent)
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("k")
        leader = await cluster.leader("k")
        await append(leader, sent, 3, form_of(header))
        (replica,) = leader.running.replicas.local.values()
        (stored,) = [frame for frame in replica.log.frames(2, replica.log.last_index) if has_records(frame)]
        assert (stored.payload, stored.payload_type, stored.level) == (sent, PayloadType.KAFKA_2, 2)
        assert decode_stored_header(stored.payload).view() == header
        table = replica.appender._table
        await cluster.until(lambda: key_of(header) in table.producers, "it is applied")
        known = table.producers[key_of(header)]
        assert (known.epoch, known.recent[-1].sequence, known.recent[-1].count) == (1, 0, 3)
        sequences = Sequences(table)
        assert sequences.find(header) == known.recent[-1], "sent again it is a duplicate"
        following = kafka_check.check(encode([Record(T, None, b"")], producer=(5, 1, 3)))
        assert sequences.find(following) is None, "the sequence counts records"
        with pytest.raises(floodmark.errors.OutOfOrderSequence):
            sequences.find(kafka_check.check(encode([Record(T, None, b"")], producer=(5, 1, 4))))
