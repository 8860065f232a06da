"""Clocks that jump: append times follow most of them, and leaderships leave the others."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import floodmark

from chaos.faults import Aim, ClockJump, Injection
from tests.chaos.faulty import ALL, LEADER, TOPIC, running

_DAY_S = 86_400.0


async def _records(session: aiohttp.ClientSession, url: str, start: str, many: int = 1) -> dict[str, Any]:
    path = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
    async with session.get(path, params={"from": start, "max_records": str(many)}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def _agreed(session: aiohttp.ClientSession, url: str) -> None:
    """Until the node has heard that the others' clocks say what its own says."""
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if (await answer.json())["warnings"] == []:
                    return
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
            async with asyncio.timeout(20):
                while await cluster.view.leader(TOPIC) == before:  # noqa: ASYNC110 - told by other processes
                    await asyncio.sleep(0.05)
            async with session.get(f"{url}/readyz") as answer:
                assert answer.status == 200
                (warning,) = (await answer.json())["warnings"]
                assert "this node's clock is 86400 s ahead of the median" in warning
        page = await _records(session, url, "earliest", many=1_000)
        assert len(page["records"]) >= 200
        now = datetime.now(UTC)
        for record in page["records"]:
            for field in ("append_time", "timestamp"):
                assert abs((datetime.fromisoformat(record[field]) - now).total_seconds()) < 120, record


async def _stored(session: aiohttp.ClientSession, url: str, value: float) -> None:
    """Whoever leads: on a busy machine that changes, and then nothing is stored and is said to be."""
    async with asyncio.timeout(30):
        while True:
            async with session.post(url, json={"value": value}) as answer:
                if answer.status == 200:
                    return
                assert (await answer.json())["cause"] in ("not_leader", "no_leader"), await answer.text()
            await asyncio.sleep(0.1)


async def test_reading_from_a_time_when_times_went_back(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The first record with that time or a later one: the one whose clock was ahead, not a later record."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _), aiohttp.ClientSession() as session:
        url = cluster.direct_url(await cluster.view.leader(TOPIC))
        produce = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
        for jump_s in (0.0, 7 * _DAY_S, 0.0):
            async with Injection(ClockJump(aim=ALL, jump_s=jump_s), cluster):
                await _agreed(session, url)
                await _stored(session, produce, jump_s)
            await _agreed(session, url)
        tomorrow = int((time.time() + _DAY_S) * 1000)
        page = await _records(session, url, f"@{tomorrow}")
        assert [record["offset"] for record in page["records"]] == [1]
        assert page["high_watermark"] == 3
        page = await _records(session, url, "@0")
        assert [record["offset"] for record in page["records"]] == [0]
