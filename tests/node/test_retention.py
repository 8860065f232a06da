"""Retention by time on running nodes."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.support.nodes import NodeCluster


async def test_a_few_records_go_in_time_from_all_replicas(tmp_path: Path) -> None:
    """They fill no segment, and nobody writes behind them: they are gone all the same, and offsets go on."""
    async with NodeCluster.running(tmp_path, **{"storage.retention_interval_s": 0.1}) as cluster:
        await cluster.create("events", replicas=3, retention_ms=1_000)
        leader = await cluster.leader("events")
        url = f"{leader.url}/v1/topics/events/partitions/0/records"
        async with aiohttp.ClientSession() as session:
            for number in range(3):
                async with session.post(url, json={"value": number}) as answer:
                    assert answer.status == 200, await answer.text()
            logs = [replica.log for node in cluster.up for replica in node.running.replicas.local.values()]
            await cluster.until(
                lambda: all(log.start_offset == 3 for log in logs), "all three records are gone"
            )
            async with session.get(url, params={"from": "0"}) as answer:
                assert answer.status == 410
            async with session.post(url, json={"value": 3}) as answer:
                assert (await answer.json())["first_offset"] == 3
