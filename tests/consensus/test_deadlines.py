"""Deadlines that share timers: never early, called once, and not after they were cancelled."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from consensus.host.deadlines import after


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.5, 0.6])
def test_a_deadline_is_called_once_and_not_before_its_time(seconds: float) -> None:
    """Those with a timer of their own, and those that share one."""

    async def run() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        calls: list[float] = []
        both = asyncio.Event()
        due = loop.time() + seconds

        def expired() -> None:
            calls.append(loop.time())
            if len(calls) == 2:
                both.set()

        for _ in range(2):
            after(seconds, expired)
        await both.wait()
        await asyncio.sleep(0.05)
        return calls, due

    calls, due = uvloop.run(run())
    assert len(calls) == 2
    # uvloop counts in milliseconds.
    assert min(calls) >= due - 0.002


def test_a_cancelled_deadline_is_not_called() -> None:
    """Also where one of the same moment cancels it."""

    async def run() -> list[str]:
        calls: list[str] = []
        over = asyncio.Event()
        after(0.6, lambda: calls.append("cancelled")).cancel()
        after(0.6, lambda: (calls.append("first"), second.cancel()))
        second = after(0.6, lambda: calls.append("second"))
        after(0.7, over.set)
        await over.wait()
        second.cancel()
        return calls

    assert uvloop.run(run()) == ["first"]
