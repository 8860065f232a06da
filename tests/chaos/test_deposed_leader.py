"""A leader that goes on in a cut, deposed and unaware of it, while clients ask it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import floodmark

from chaos.cluster import ChaosCluster
from chaos.faults import Injection, PauseInCut
from tests.chaos.faulty import LEADER, TOPIC, running, toxics


async def test_it_goes_on_before_the_cut_heals_and_refuses_nothing(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """Another one leads by then. Nothing that the old one answers is a refusal by its old state."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        await _goes_on_by_itself(cluster)
        fault = Injection(PauseInCut(aim=LEADER, pause_s=60), cluster)
        async with floodmark.Client(cluster.urls) as client, aiohttp.ClientSession() as session:
            await client.produce(TOPIC, b"before", partition=0)
            await fault.inject()
            (old,) = fault.nodes
            async with asyncio.timeout(30):
                while await cluster.view.leader(TOPIC) == old:  # noqa: ASYNC110 - no event of other processes
                    await asyncio.sleep(0.05)
            for number in range(1, 4):
                assert (await client.produce(TOPIC, b"after", partition=0)).offset == number
            assert not cluster.runs(old)
            path = f"{cluster.direct_url(old)}/v1/topics/{TOPIC}/partitions/0/records"

            async def append(expected: int) -> int:
                headers = {"If-Offset": str(expected), "Content-Type": "application/octet-stream"}
                query = {"timeout": "700ms"}
                async with session.post(path, params=query, data=b"x", headers=headers) as answer:
                    return answer.status

            async def read(offset: int) -> int:
                async with session.get(path, params={"from": offset}) as answer:
                    return answer.status

            # They wait in its sockets, and are the first that it sees.
            asked = [asyncio.create_task(append(expected)) for expected in (0, 3, 4)]
            asked += [asyncio.create_task(read(offset)) for offset in (2, 4)]
            await asyncio.sleep(0.1)
            await cluster.let_go(fault._tag, old)
            appended = await asyncio.gather(*asked[:3])
            assert set(appended) <= {503, 504}
            assert cluster.runs(old)
            assert await toxics(cluster) > 0, "it is cut off still"
            await fault.heal()
            assert await toxics(cluster) == 0
            assert await asyncio.gather(*asked[3:]) == [200, 200]
            assert (await client.produce(TOPIC, b"last", partition=0)).offset == 4


async def _goes_on_by_itself(cluster: ChaosCluster) -> None:
    """A node does after its pause, in the cut; and when the fault is taken back before."""
    for pause_s in (60, 0.1):
        async with Injection(PauseInCut(aim=LEADER, pause_s=pause_s), cluster) as fault:
            (node,) = fault.nodes
            if pause_s > 1:
                assert not cluster.runs(node)
                continue
            async with asyncio.timeout(30):
                while not cluster.runs(node):  # noqa: ASYNC110 - other processes set no events
                    await asyncio.sleep(0.02)
            assert await toxics(cluster) > 0
    assert cluster.runs(node)
    assert await toxics(cluster) == 0
    await cluster.ready()
