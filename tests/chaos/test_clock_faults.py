"""Clocks that jump: append times follow most of them, and leaderships leave the others."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import floodmark

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, ClockJump, Injection
from tests.chaos.faulty import ALL, LEADER, TOPIC, running

_DAY_S = 86_400.0


async def _records(session: aiohttp.ClientSession, url: str, start: str, many: int = 1) -> dict[str, Any]:
    path = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
    async with session.get(path, params={"from": start, "max_records": str(many)}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def _warnings(session: aiohttp.ClientSession, url: str) -> list[str]:
    async with session.get(f"{url}/readyz") as answer:
        found: list[str] = (await answer.json())["warnings"]
        return found


async def _agreed(session: aiohttp.ClientSession, cluster: ChaosCluster) -> None:
    """Until every node has heard that the others' clocks say what its own says: any of them may lead."""
    async with asyncio.timeout(60):
        for name in cluster.names:
            while await _warnings(session, cluster.direct_url(name)):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.02)


async def test_clocks_jump_forward_and_back(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """A day ahead, a day back, all or the leader alone: all is stored and in order."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            for aim, direction in ((LEADER, "forward"), (ALL, "back"), (Aim(node="n3"), "back")):
                async with Injection(ClockJump(aim=aim, jump_s=_DAY_S, direction=direction), cluster):  # type: ignore[arg-type]
                    await ledger.wait_acknowledged(3_000)
        await ledger.check(cluster.urls)
        assert not ledger.unsettled


async def test_a_leader_whose_clock_is_off_gives_its_leaderships_away(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """It says so, and no record gets a time that is far from what the others say."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _), aiohttp.ClientSession() as session:
        before = await cluster.view.leader(TOPIC)
        url = cluster.direct_url(before)
        async with (
            floodmark.Client(url) as client,
            Injection(ClockJump(aim=Aim(node=before), jump_s=_DAY_S, direction="forward"), cluster),
        ):
            for number in range(200):
                await client.produce(TOPIC, {"n": number}, partition=0)
            async with asyncio.timeout(60):
                while await cluster.view.leader(TOPIC) == before:  # noqa: ASYNC110 - told by other processes
                    await asyncio.sleep(0.05)
                # On a busy machine it may have lost its lead for another reason, before it heard the others.
                while not (warnings := await _warnings(session, url)):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.05)
            await cluster.ready()
            (warning,) = warnings
            told = re.search(r"this node's clock is (\d+) s ahead of the median", warning)
            assert told is not None, warning
            # What the others' clocks say is late by its way here.
            assert _DAY_S - 1 <= int(told[1]) < _DAY_S + 60
        page = await _records(session, url, "earliest", many=1_000)
        assert len(page["records"]) >= 200
        now = datetime.now(UTC)
        for record in page["records"]:
            for field in ("append_time", "timestamp"):
                assert abs((datetime.fromisoformat(record[field]) - now).total_seconds()) < 120, record


async def _stored(session: aiohttp.ClientSession, url: str, value: float, offset: int) -> None:
    """As that record, whoever leads: on a busy machine that changes, and then it may be stored or not."""
    async with asyncio.timeout(60):
        while True:
            async with session.post(url, json={"value": value}, headers={"If-Offset": str(offset)}) as answer:
                if answer.status in (200, 412):  # It was stored before, where nobody else writes.
                    return
                assert answer.status in (503, 504), await answer.text()
            await asyncio.sleep(0.1)


async def test_reading_from_a_time_when_times_went_back(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The first record with that time or a later one: the one whose clock was ahead, not a later record."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _), aiohttp.ClientSession() as session:
        url = cluster.direct_url(await cluster.view.leader(TOPIC))
        produce = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
        for offset, jump_s in enumerate((0.0, 7 * _DAY_S, 0.0)):
            async with Injection(ClockJump(aim=ALL, jump_s=jump_s), cluster):
                await _agreed(session, cluster)
                await _stored(session, produce, jump_s, offset)
            await _agreed(session, cluster)
        tomorrow = int((time.time() + _DAY_S) * 1000)
        page = await _records(session, url, f"@{tomorrow}")
        assert [record["offset"] for record in page["records"]] == [1]
        assert page["high_watermark"] == 3
        page = await _records(session, url, "@0")
        assert [record["offset"] for record in page["records"]] == [0]
