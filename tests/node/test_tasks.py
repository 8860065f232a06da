"""Work in the background of whatever ends with a leadership."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from node.coordinator.tasks import KeyedTasks


async def test_there_is_one_task_for_each_key_and_its_end_is_told() -> None:
    """Also that of one that fails, which is logged; not that of one that was cancelled."""
    begun: list[str] = []
    ended: list[str] = []
    go = asyncio.Event()

    async def work(key: str) -> None:
        begun.append(key)
        await go.wait()
        if key == "fails":
            raise ValueError(key)
        if key == "stays":
            await asyncio.Event().wait()

    tasks = KeyedTasks(work, ended.append)
    for key in ("a", "a", "fails", "stays"):
        tasks.begin(key)
    assert len(tasks.running) == 3
    with capture_logs() as logs:
        go.set()
        while len(tasks.running) > 1:  # noqa: ASYNC110 - it is about several tasks
            await asyncio.sleep(0)
    assert sorted(begun) == ["a", "fails", "stays"]
    assert sorted(ended) == ["a", "fails"]
    assert [each["event"] for each in logs] == ["task_failed"]
    tasks.begin("a")
    tasks.cancel()
    await asyncio.gather(*tasks.running, return_exceptions=True)
    assert not tasks.running
    assert sorted(ended) == ["a", "fails"]
