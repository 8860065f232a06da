"""A leader that meets bad bytes of its own disk while it reads: no reader learns of it, whoever is asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import floodmark
import pytest
from floodmark.format import frame
from floodmark.format.frame import FrameKind

from tests.support.damage import group_of, hit
from tests.support.nodes import NodeCluster

COUNT = 12
BAD = 8
"""Raft index of the frame that is damaged; its record is the sixth."""
Read = Callable[[NodeCluster, str, str], Awaitable[list[int]]]


async def get(
    cluster: NodeCluster, url: str, path: str, accept: str = "application/json"
) -> tuple[int, bytes]:
    """Status and body."""
    async with cluster.session.get(url + path, headers={"Accept": accept}) as answer:
        return answer.status, await answer.read()


async def pages(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """A page of one partition in JSON."""
    status, body = await get(cluster, url, f"/v1/topics/{topic}/partitions/0/records")
    assert status == 200, body
    return [record["value"]["n"] for record in json.loads(body)["records"]]


async def all_partitions(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """A page of the topic."""
    status, body = await get(cluster, url, f"/v1/topics/{topic}/records?from=earliest")
    assert status == 200, body
    return [record["value"]["n"] for record in json.loads(body)["records"]]


async def lines(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """NDJSON up to the end."""
    path = f"/v1/topics/{topic}/partitions/0/records"
    status, body = await get(cluster, url, path, "application/x-ndjson")
    assert status == 200, body
    return [json.loads(line)["value"]["n"] for line in body.splitlines()]


async def events(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """Server-sent events, as many as there are."""
    path = f"/v1/topics/{topic}/partitions/0/records?max_records={COUNT}"
    status, body = await get(cluster, url, path, "text/event-stream")
    assert status == 200, body
    data = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line)["value"]["n"] for line in data]


async def verified_frames(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """Stored batches, which the leader verifies where it is asked to."""
    path = f"/v1/topics/{topic}/partitions/0/records?verify=true"
    status, body = await get(cluster, url, path, "application/vnd.floodmark.batch;v=1")
    assert status == 200, body
    return [item.first_offset for item in frame.iterate(body) if item.kind is FrameKind.RECORDS]


async def by_time(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """From a moment on that the damaged record stands at."""
    path = f"/v1/topics/{topic}/partitions/0/records?from=@{1000 + BAD - 3}"
    status, body = await get(cluster, url, path)
    assert status == 200, body
    return [*range(BAD - 3), *(record["value"]["n"] for record in json.loads(body)["records"])]


async def client(cluster: NodeCluster, url: str, topic: str) -> list[int]:
    """The Python client, which reads stored batches and verifies them itself."""
    async with floodmark.Client(url) as reader:
        return [record.json()["n"] async for record in reader.read(topic, partition=0, start=0)]


DOORS: list[Read] = [pages, all_partitions, lines, events, verified_frames, by_time, client]


@pytest.mark.parametrize("in_header", [False, True], ids=["payload", "header"])
async def test_damage_on_the_leaders_disk_is_no_readers_business(tmp_path: Path, in_header: bool) -> None:
    """Each door, asked at the leader, at a follower, and at a node without a replica."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        for number, door in enumerate(DOORS):
            topic = f"t{number}"
            await cluster.create(topic, replicas=3)
            leader = await cluster.leader(topic)
            path = f"{leader.url}/v1/topics/{topic}/partitions/0/records"
            for n in range(COUNT):
                record = {"value": {"n": n}, "timestamp": 1000 + n}
                async with cluster.session.post(path, json={"records": [record]}) as answer:
                    assert answer.status == 200, await answer.text()
            raft_group = group_of(cluster, topic)
            replicas = leader.broker.topic(topic).partitions[0].replicas
            asked = {
                "leader": leader.node_id,
                "follower": next(node for node in replicas if node != leader.node_id),
                "elsewhere": next(node for node in cluster.nodes if node not in replicas),
            }
            where = list(asked)[number % 3]
            hit(leader, raft_group, BAD, in_header=in_header)
            found = await door(cluster, cluster[asked[where]].url, topic)
            assert found == list(range(COUNT)), (door.__name__, where)
