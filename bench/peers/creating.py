"""Making what is measured, on servers that have just been started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_TIMEOUT_S = 30.0


async def until_made(create: Callable[[], Awaitable[None]]) -> None:
    """Retried: a cluster that answers may not have elected a leader yet."""
    deadline = time.perf_counter() + _TIMEOUT_S
    while True:
        try:
            await create()
        except Exception:
            if time.perf_counter() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return
