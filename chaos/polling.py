"""Asking again until something holds, or until the time is up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

_AGAIN_S: Final = 0.3


async def until(holds: Callable[[], Awaitable[bool]], *, every_s: float = _AGAIN_S) -> None:
    """Return once ``holds`` answers True. Raises what it raises."""
    while not await holds():  # noqa: ASYNC110 - what other processes do sets no event here
        await asyncio.sleep(every_s)


async def left_over(
    look: Callable[[], Awaitable[list[str]]],
    timeout_s: float,
    *,
    at_first: Sequence[str] = (),
    every_s: float = _AGAIN_S,
) -> list[str]:
    """Empty once ``look`` finds nothing; else what it found last when the time is up (``at_first`` before
    that)."""
    found = list(at_first)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while found := await look():  # noqa: ASYNC110 - as above
                await asyncio.sleep(every_s)
    return found
