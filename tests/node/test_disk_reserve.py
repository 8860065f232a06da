"""Below the reserve of a leader's disk nothing is taken in, at every door, and what helps goes on."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import floodmark
import pytest
from floodmark.errors import StorageFull

from node.replicas.disk_reserve import DiskReserve
from storage.filesystem import Space
from storage.memory_filesystem import MemoryFileSystem
from tests.support.nodes import NodeCluster

MIB = 1 << 20
LITTLE = Space(20 * MIB, 1000 * MIB)
MUCH = Space(60 * MIB, 1000 * MIB)


def test_the_reserve_is_a_twentieth_of_a_small_disk_at_the_most() -> None:
    """A disk of 1000 MiB keeps 50, one of 100 GiB what is set; at the reserve itself all is well."""
    disk = DiskReserve(lambda: LITTLE, 512 * MIB)
    for free, total, short in (
        (49 * MIB, 1000 * MIB, True),
        (50 * MIB, 1000 * MIB, False),
        (511 * MIB, 102_400 * MIB, True),
        (512 * MIB, 102_400 * MIB, False),
    ):
        disk.take(Space(free, total))
        assert (disk.is_short, bool(disk.warnings)) == (short, short), (free, total)
    disk.take(LITTLE)
    with pytest.raises(StorageFull, match=r"20 MiB free.*50 MiB.*delete topics"):
        disk.check()
    disk.take(MUCH)
    disk.check()
    figures = {sample.name: sample.value for metric in disk.collect() for sample in metric.samples}
    assert figures["floodmark_disk_free_bytes"] == 60 * MIB
    assert figures["floodmark_disk_reserve_bytes"] == 50 * MIB
    assert figures["floodmark_disk_refusals_total"] == 1


def test_without_a_reserve_nothing_is_refused() -> None:
    """Not even on a disk that is full."""
    disk = DiskReserve(lambda: LITTLE, 0)
    disk.take(Space(0, 1000 * MIB))
    disk.check()


def test_a_disk_in_memory_tells_what_is_left() -> None:
    """The port's answer is that of its limit on growth."""
    fs = MemoryFileSystem()
    assert fs.space("data").free_bytes == fs.space("data").total_bytes
    fs.space_left_bytes = 7
    assert fs.space("data").free_bytes == 7


async def fill(cluster: NodeCluster, space: Space) -> None:
    """Have all nodes' disks tell this, and the nodes know."""
    for node in cluster.nodes.values():
        node.running.disk.space = lambda: space
        node.running.disk.take(space)


async def ask(
    cluster: NodeCluster, method: str, url: str, json: Any = None, **headers: str
) -> tuple[int, dict[str, Any], str]:
    """Status, document, Retry-After."""
    async with cluster.session.request(method, url, json=json, headers=headers) as answer:
        document = await answer.json(content_type=None) if answer.status != 204 else {}
        return answer.status, document, answer.headers.get("Retry-After", "")


async def test_at_every_door_a_leader_without_room_says_so_and_can_be_helped(tmp_path: Path) -> None:
    """Produces and topics are 507; duplicates, reads, PATCH, DELETE and forwarding go on; room ends it."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        await cluster.create("gone", replicas=2)
        leader = await cluster.leader("t")
        partition = await cluster.on_leader("t")
        urls = [node.url for node in cluster.nodes.values()]
        producer = base64.b64encode(b"p").decode()
        named = {"Producer-Id": producer, "Producer-Epoch": "0", "Producer-Seq": "0"}
        path = "/v1/topics/t/partitions/0/records"
        assert (await ask(cluster, "POST", leader.url + path, {"value": 1}, **named))[0] == 200

        await fill(cluster, LITTLE)
        for url in urls:
            for target, headers in (
                (path, {}),
                (f"{path}?timeout=5s", {}),
                (f"{path}?acks=none", {}),
                (path, {"Producer-Id": producer, "Producer-Epoch": "0", "Producer-Seq": "1"}),
                ("/v1/topics/t/records", {}),
            ):
                status, document, retry_after = await ask(
                    cluster, "POST", url + target, {"value": 2}, **headers
                )
                told = (status, document["code"], document["retriable"], retry_after)
                assert told == (507, "storage_full", True, "2"), (url, target, headers, document)
            status, document, _ = await ask(cluster, "PUT", f"{url}/v1/topics/new", {})
            assert (status, document["code"]) == (507, "storage_full")
            status, document, _ = await ask(cluster, "POST", url + path, {"value": 1}, **named)
            assert (status, document["first_offset"], document["duplicate"]) == (200, 0, True)
            status, document, _ = await ask(cluster, "GET", url + path)
            assert (status, len(document["records"])) == (200, 1)
            status, document, _ = await ask(cluster, "GET", f"{url}/readyz")
            assert status == 200
            assert any("storage.disk_reserve_bytes" in line for line in document["warnings"]), document
        assert partition.bounds().high_watermark == 1
        other = next(url for url in urls if url != leader.url)
        assert (await ask(cluster, "PATCH", f"{other}/v1/topics/t", {"config": {"retention_ms": 1000}}))[
            0
        ] == 200
        assert (await ask(cluster, "DELETE", f"{other}/v1/topics/gone"))[0] == 204

        async with floodmark.Client(other) as client:
            before = leader.running.disk.refused
            waiting = asyncio.ensure_future(client.produce("t", b"3", partition=0))
            await cluster.until(lambda: leader.running.disk.refused > before, "the client has been refused")
            await fill(cluster, MUCH)
            assert (await waiting).offset == 1
        assert (await ask(cluster, "PUT", f"{other}/v1/topics/new", {}))[0] == 201
