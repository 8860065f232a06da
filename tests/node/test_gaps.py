"""Reading a log that was compacted on its leader: no door says a word of gaps, none ends or waits early."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import floodmark
import pytest
from floodmark.format import frame
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import has_records, records_in

from storage.log import Log
from tests.support.compaction import compact, compactable
from tests.support.damage import group_of, hit
from tests.support.nodes import NodeCluster, TestNode

COUNT = 120
BATCH = "application/vnd.floodmark.batch;v=1"


def _number(record: dict[str, Any]) -> int:
    return int(record["value"]["n"])


def log_of(node: TestNode, raft_group: int) -> Log:
    """Of a running replica."""
    return node.running.replicas.local[raft_group].group.log


async def compacted(cluster: NodeCluster, topic: str, *, wholly: bool = False) -> tuple[TestNode, list[int]]:
    """Store records, one in each frame, and have the leader lose most; what is left of them on it.

    Of the first segments nothing is left. ``wholly``: no record of any is, up to the end.
    """
    await cluster.create(topic, replicas=3, segment_bytes=4096)
    leader = await cluster.leader(topic)
    path = f"{leader.url}/v1/topics/{topic}/partitions/0/records"
    for n in range(COUNT):
        record = {"value": {"n": n}, "timestamp": 1000 + n}
        async with cluster.session.post(path, json={"records": [record]}) as answer:
            assert answer.status == 200, await answer.text()
    raft_group = group_of(cluster, topic)
    for node in cluster.up:
        if raft_group in node.running.replicas.local:
            log = log_of(node, raft_group)
            if wholly or node is not leader:
                log.seal(log.last_index)
            await node.running.host.disk.checkpoint(raft_group)
            for number, index in enumerate(compactable(log)):
                many = number < 2 or wholly
                compact(log, index, lambda each, many=many: not many and each.index % 9 < 2)  # type: ignore[misc]
    log = log_of(leader, raft_group)
    assert sum(each.kind is FrameKind.GAP for each in log.stored(log.base_index, log.last_index)) >= 2
    return leader, [n for each in log.stored(log.base_index, log.last_index) for n in _numbers(each)]


def _numbers(each: Frame) -> list[int]:
    if not has_records(each):
        return []
    return [json.loads(record.value or b"{}")["n"] for record in records_in(each, each.payload) if record]


async def document(cluster: NodeCluster, url: str) -> dict[str, Any]:
    """A page in JSON."""
    async with cluster.session.get(url, headers={"Accept": "application/json"}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def pages(cluster: NodeCluster, base: str, start: str, *, ends_at: int = COUNT) -> list[int]:
    """Page by page, by the offset that each says is next."""
    found: list[int] = []
    offset = start
    while True:
        page = await document(cluster, f"{base}&from={offset}")
        found += [_number(record) for record in page["records"]]
        if page["next_offset"] == ends_at:
            return found
        assert page["records"], "a page without records is the end"
        offset = str(page["next_offset"])


@pytest.mark.parametrize("where", ["leader", "follower", "elsewhere"])
async def test_every_door_passes_gaps_over(tmp_path: Path, where: str) -> None:
    """The same records, from every node, in every form."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        leader, left = await compacted(cluster, "t")
        assert 15 < len(left) < COUNT - 40
        replicas = leader.broker.topic("t").partitions[0].replicas
        node = {
            "leader": leader,
            "follower": next(cluster[name] for name in replicas if name != leader.node_id),
            "elsewhere": next(each for name, each in cluster.nodes.items() if name not in replicas),
        }[where]
        base = f"{node.url}/v1/topics/t/partitions/0/records?max_records=4"
        assert await pages(cluster, base, "earliest") == left
        for start in (1, 25, 57, COUNT - 1):
            assert await pages(cluster, base, str(start)) == [n for n in left if n >= start]
        assert await pages(cluster, base, f"@{1000 + 57}") == [n for n in left if n >= 57]
        assert await pages(cluster, base, "-100") == [n for n in left if n >= COUNT - 100]
        await _streams(cluster, node, left)
        await _frames(cluster, node, left)
        await _of_all_partitions(cluster, node, left)
        async with floodmark.Client(node.url) as client:
            assert [record.json()["n"] async for record in client.read("t", partition=0, start=0)] == left
            some = [record.json()["n"] async for record in client.read("t", start=-100)]
            assert some == [n for n in left if n >= COUNT - 100]


async def _streams(cluster: NodeCluster, node: TestNode, left: list[int]) -> None:
    path = f"{node.url}/v1/topics/t/partitions/0/records"
    headers = {"Accept": "application/x-ndjson"}
    async with cluster.session.get(path, headers=headers) as answer:
        lines = (await answer.read()).splitlines()
        assert [_number(json.loads(line)) for line in lines] == left
    headers = {"Accept": "text/event-stream"}
    async with cluster.session.get(f"{path}?max_records={len(left)}", headers=headers) as answer:
        data = [line[6:] for line in (await answer.read()).splitlines() if line.startswith(b"data: ")]
        assert [_number(json.loads(line)) for line in data] == left


async def _frames(cluster: NodeCluster, node: TestNode, left: list[int]) -> None:
    """As they lie there, gaps among them; the next offset leads over those."""
    offset, found, gaps = 0, [], 0
    while offset < COUNT:
        url = f"{node.url}/v1/topics/t/partitions/0/records?from={offset}&max_bytes=700"
        async with cluster.session.get(url, headers={"Accept": BATCH}) as answer:
            assert answer.status == 200
            for each in frame.iterate(await answer.read()):
                gaps += each.kind is FrameKind.GAP
                found += _numbers(each)
            assert int(answer.headers["Log-Next-Offset"]) > offset
            offset = int(answer.headers["Log-Next-Offset"])
    assert found == left
    assert gaps > 3


async def _of_all_partitions(cluster: NodeCluster, node: TestNode, left: list[int]) -> None:
    found: list[int] = []
    query = "from=earliest"
    while True:
        page = await document(cluster, f"{node.url}/v1/topics/t/records?max_records=5&{query}")
        found += [_number(record) for record in page["records"]]
        if not page["records"]:
            assert found == left
            return
        query = f"cursor={page['cursor']}"


async def test_where_nothing_is_left_a_page_moves_on_and_a_long_poll_waits_at_the_end(tmp_path: Path) -> None:
    """No loop, no early answer: what waits wakes with the first new record, from wherever it began."""
    async with NodeCluster.running(tmp_path) as cluster:
        leader, left = await compacted(cluster, "t", wholly=True)
        assert left == []
        path = f"{leader.url}/v1/topics/t/partitions/0/records"
        for start in ("earliest", "7", f"@{1000 + 57}", "-30"):
            page = await document(cluster, f"{path}?from={start}")
            assert (page["records"], page["next_offset"]) == ([], COUNT)
        async with floodmark.Client(leader.url) as client:
            assert [record async for record in client.read("t", partition=0, start=0)] == []
            poll = asyncio.create_task(document(cluster, f"{path}?from=3&wait=20s"))
            topic = asyncio.create_task(
                document(cluster, f"{leader.url}/v1/topics/t/records?from=earliest&wait=20s")
            )
            reader = client.read("t", partition=0, start=0, follow=True).__aiter__()
            following = asyncio.ensure_future(anext(reader))
            lag = leader.running.host.group(group_of(cluster, "t"))
            await asyncio.sleep(0.2)
            assert not poll.done()
            assert not topic.done()
            assert not following.done()
            await client.produce("t", {"n": 7}, partition=0)
            for page in (await poll, await topic):
                assert [_number(record) for record in page["records"]] == [7]
                assert page["records"][0]["offset"] == COUNT
            assert (await poll)["next_offset"] == COUNT + 1
            assert (await following).offset == COUNT
            assert lag.high_watermark == COUNT + 1
            await reader.aclose()


@pytest.mark.parametrize("in_header", [False, True], ids=["payload", "header"])
async def test_a_damaged_gap_is_mended_from_a_peer_while_it_is_read(tmp_path: Path, in_header: bool) -> None:
    """Through the real host: readers see the same records, and the segment is whole again."""
    async with NodeCluster.running(tmp_path) as cluster:
        leader, left = await compacted(cluster, "t")
        raft_group = group_of(cluster, "t")
        log = log_of(leader, raft_group)
        first = next(iter(log.stored(log.base_index, log.last_index)))
        assert (first.kind, first.index) == (FrameKind.GAP, 2)
        for node in cluster.up:
            # What a peer still has in memory it would send whole: as good, and not what this is about.
            tail = log_of(node, raft_group)._tail
            tail._bytes_max = 0
            tail.evict(log.written_index)
        hit(leader, raft_group, first.index, in_header=in_header)
        base = f"{leader.url}/v1/topics/t/partitions/0/records?max_records=4"
        assert await pages(cluster, base, "earliest") == left
        folder = leader.data_dir / "groups" / str(raft_group)
        await cluster.until((folder / "quarantine").is_dir, "the old segment is kept")
        assert await pages(cluster, base, "earliest") == left
        log = log_of(leader, raft_group)
        assert [n for each in log.stored(log.base_index, log.last_index) for n in _numbers(each)] == left
