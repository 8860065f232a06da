"""A partition that cannot keep up says so at every door, at once, and only of what it did not take in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import floodmark
import pytest

from consensus.types import Proposal, Stored
from node.partition import appender
from node.partition.partition import LocalPartition
from tests.support.nodes import NodeCluster


async def test_at_every_door_an_overloaded_partition_is_429(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Retry-After, whoever is asked and in whatever form; the client waits and gets through."""
    monkeypatch.setattr(appender, "BUSY_BYTES", 0)
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        partition = await cluster.on_leader("t")
        assert isinstance(partition, LocalPartition)
        stuck = Proposal()
        under_way = partition.replica.appender._under_way
        under_way.append((0.0, stuck))
        path = "/v1/topics/t/partitions/0/records"
        named = {"Producer-Id": "cA==", "Producer-Epoch": "0", "Producer-Seq": "0"}
        urls = [node.url for node in cluster.nodes.values()]
        for url in urls:
            for target, headers in (
                (path, {}),
                (f"{path}?timeout=5s", {}),
                (f"{path}?acks=none", {}),
                (path, named),
                ("/v1/topics/t/records", {}),
            ):
                async with cluster.session.post(url + target, json={"value": 1}, headers=headers) as answer:
                    told = answer.status, answer.headers.get("Retry-After"), (await answer.json())["code"]
                assert told == (429, "1", "too_many_requests"), (url, target, headers)
        assert partition.bounds().high_watermark == 0

        async with floodmark.Client(urls) as client:
            waiting = asyncio.ensure_future(client.produce("t", b"2", partition=0))
            asyncio.get_running_loop().call_later(0.3, stuck.resolve, Stored(1, 1, 0))
            assert (await waiting).offset == 0
        for number, url in enumerate(urls, 1):
            async with cluster.session.post(url + path, json={"value": 1}) as answer:
                assert (answer.status, (await answer.json())["first_offset"]) == (200, number)
