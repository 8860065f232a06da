"""A leader that goes on in a cut, deposed and unaware of it, while clients ask it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import floodmark

from chaos.cluster import ChaosCluster
from chaos.faults import Cut, Injection, PauseInCut
from tests.chaos.faulty import LEADER, TOPIC, running, toxics


async def test_it_goes_on_before_the_cut_heals_and_refuses_nothing(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """Another one leads by then. Nothing that the old one answers is a refusal by its old state."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        await _goes_on_by_itself(cluster)
        fault = Injection(PauseInCut(aim=LEADER, pause_s=600), cluster)
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

            async def append(expected: int) -> tuple[int, str | None]:
                headers = {"If-Offset": str(expected), "Content-Type": "application/octet-stream"}
                query = {"timeout": "700ms"}
                async with session.post(path, params=query, data=b"x", headers=headers) as answer:
                    return answer.status, answer.headers.get("Floodmark-Leader")

            async def read(offset: int) -> int:
                async with session.get(path, params={"from": offset}) as answer:
                    return answer.status

            # They wait in its sockets, and are the first that it sees.
            asked = [asyncio.create_task(append(expected)) for expected in (0, 3, 4)]
            reading = [asyncio.create_task(read(offset)) for offset in (2, 3)]
            await asyncio.sleep(0.1)
            await cluster.let_go(fault._tag, old)
            # It says that it does not know; or asks who does, for requests go another way than what is cut.
            now = await cluster.view.leader(TOPIC)
            for expected, (status, said_by) in zip((0, 3, 4), await asyncio.gather(*asked[:3]), strict=True):
                right = 200 if expected == 4 else 412
                assert status in (503, 504) or (status, said_by) == (right, now)
            assert cluster.runs(old)
            assert await toxics(cluster) > 0, "it is cut off still"
            await fault.heal()
            assert await toxics(cluster) == 0
            assert await asyncio.gather(*reading) == [200, 200]
            assert (await client.produce(TOPIC, b"last", partition=0)).offset in (4, 5)


async def test_one_that_hears_nobody_holds_nobody_up(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The others elect, and it does not hear of it. It asks them, as long as requests reach them; and who
    waits for what it was given before may go on, where sending it again does no harm.
    """
    async with (
        running(tmp_path, toxiproxy_binary) as (cluster, _),
        floodmark.Client(await _leader_alone(cluster), request_timeout_s=60) as client,
        client.producer(TOPIC) as producer,
        aiohttp.ClientSession() as session,
    ):
        await (await producer.send(b"first", partition=0))
        async with Injection(Cut(aim=LEADER, direction="in"), cluster) as fault:
            (old,) = fault.nodes
            # It still takes itself for the leader when this one comes.
            assert (await (await producer.send(b"second", partition=0))).offset == 1
            path = f"{cluster.direct_url(old)}/v1/topics/{TOPIC}/partitions/0/records"
            for offset in (2, 3):
                async with session.post(path, params={"timeout": "30s"}, data=b"x") as answer:
                    assert (answer.status, (await answer.json())["first_offset"]) == (200, offset)
                    assert answer.headers["Floodmark-Leader"] != old
            async with session.get(path) as answer:
                assert answer.status == 200
            assert await toxics(cluster) > 0, "it hears nobody still"


async def _leader_alone(cluster: ChaosCluster) -> list[str]:
    return [cluster.direct_url(await cluster.view.leader(TOPIC))]


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
