"""Faults that go on by themselves once they are in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any


def in_background(undo: AsyncExitStack, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run work until it ends or is told to stop; what it raises is raised when the fault heals."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(stop))

    async def end() -> None:
        stop.set()
        await task

    undo.push_async_callback(end)
