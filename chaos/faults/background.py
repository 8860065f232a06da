"""Faults that run in the background once they are in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

END_S: Final = 60.0
"""How long work that must be completed may take after its fault's time is over."""


def in_background(undo: AsyncExitStack, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run work until it ends or is told to stop; its error is raised when the fault heals."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(stop))

    async def end() -> None:
        stop.set()
        await task

    undo.push_async_callback(end)


def to_the_end(undo: AsyncExitStack, work: Coroutine[Any, Any, None], tell: Callable[[], None]) -> None:
    """Run work in the background. Healing waits for it, and calls ``tell`` if it takes over ``END_S``."""
    task = asyncio.create_task(work)

    async def end() -> None:
        try:
            async with asyncio.timeout(END_S):
                await task
        except TimeoutError:
            tell()

    undo.push_async_callback(end)
