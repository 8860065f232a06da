"""Clocks that jump: append times show it, and nothing else does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import aiohttp

from chaos.faults import Aim, ClockJump, Injection
from tests.chaos.faulty import ALL, LEADER, TOPIC, running

_DAY_S = 86_400.0


async def _records(session: aiohttp.ClientSession, url: str, start: str) -> dict[str, Any]:
    path = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
    async with session.get(path, params={"from": start, "max_records": "1"}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def test_clocks_jump_forward_and_back(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """A day ahead, a day back, all or the leader alone: leaders stay, and all is stored and in order."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        before = await cluster.view.leader(TOPIC)
        async with ledger.writing(cluster.urls):
            for aim, direction in ((LEADER, "forward"), (ALL, "back"), (Aim(node="n3"), "back")):
                async with Injection(ClockJump(aim=aim, jump_s=_DAY_S, direction=direction), cluster):  # type: ignore[arg-type]
                    await ledger.wait_acknowledged(3_000)
        assert await cluster.view.leader(TOPIC) == before
        await ledger.check(cluster.urls)
        assert not ledger.unsettled


async def test_reading_from_a_time_when_times_went_back(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The first record with that time or a later one: the one whose clock was ahead, not a later record."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _), aiohttp.ClientSession() as session:
        url = cluster.direct_url(await cluster.view.leader(TOPIC))
        produce = f"{url}/v1/topics/{TOPIC}/partitions/0/records"
        for jump_s in (0.0, 7 * _DAY_S, 0.0):
            async with (
                Injection(ClockJump(aim=LEADER, jump_s=jump_s), cluster),
                session.post(produce, json={"value": jump_s}) as answer,
            ):
                assert answer.status == 200, await answer.text()
        tomorrow = int((time.time() + _DAY_S) * 1000)
        page = await _records(session, url, f"@{tomorrow}")
        assert [record["offset"] for record in page["records"]] == [1]
        assert page["high_watermark"] == 3
        page = await _records(session, url, "@0")
        assert [record["offset"] for record in page["records"]] == [0]
