"""The mode that tells which callbacks of the event loop use the most processor time."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from local.cluster import LocalCluster
from node.callbacks import CallbackMeter, measured


def _burn(seconds: float) -> None:
    """Use so much processor time, however busy the machine is."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def _burns_in_the_middle() -> None:
    await asyncio.sleep(0)
    _burn(0.02)
    await asyncio.sleep(0)


def test_a_plain_callback_is_told_by_its_name() -> None:
    """With what it used, which is what it burned and not what it waited for."""
    meter = CallbackMeter()

    async def run() -> None:
        done = asyncio.Event()
        asyncio.get_running_loop().call_soon(_burn, 0.02)
        asyncio.get_running_loop().call_soon(done.set)
        await done.wait()

    with measured(meter):
        asyncio.run(run())
    slow = meter.take()
    assert slow is not None
    assert slow.callback == "_burn"
    assert slow.cpu_s >= 0.02
    assert meter.take() is None


def test_a_task_is_told_by_where_it_went_on_and_where_it_came_to() -> None:
    """A task that serves many requests would say nothing by its own name."""
    meter = CallbackMeter()
    with measured(meter):
        asyncio.run(_burns_in_the_middle())
    slow = meter.take()
    assert slow is not None
    first = _burns_in_the_middle.__code__.co_firstlineno
    assert slow.callback == f"_burns_in_the_middle:{first + 1} ... _burns_in_the_middle:{first + 3}"


def test_nothing_is_measured_afterwards() -> None:
    """The loops of this process run as they did, also after an error."""
    meter = CallbackMeter()
    with pytest.raises(KeyError), measured(meter):
        raise KeyError
    asyncio.run(_burns_in_the_middle())
    assert meter.take() is None


async def test_a_node_logs_its_slow_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started in that mode it serves, and says which callbacks were slow: here every one counts as slow."""
    monkeypatch.setenv("FLOODMARK_TESTING_SLOW_CALLBACK_MS", "0.000001")
    monkeypatch.setenv("FLOODMARK_LOG_FORMAT", "json")
    cluster = LocalCluster(tmp_path, 1)
    try:
        await cluster.start()
        await cluster.ready()
        url = f"{cluster.nodes['n1'].url}/healthz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
        codes = await cluster.stop()
    finally:
        await cluster.stop()
        cluster.close()
    events = [json.loads(line) for line in cluster.nodes["n1"].log.read_text().splitlines()]
    slow = [event for event in events if event["event"] == "slow_callback"]
    assert slow
    assert all(event["callback"] and event["cpu_ms"] <= event["wall_ms"] + 1 for event in slow)
    assert codes == {"n1": 0}
