"""Functions of the program, plain or ``async``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from floodmark.groups.owned import Owned


async def tell(callback: Callable[..., Any] | None, *said: Any) -> None:
    """Call it, and wait for what it has to wait for."""
    if callback is not None and inspect.isawaitable(told := callback(*said)):
        await told


async def tell_of(callback: Callable[..., Any] | None, owned: Sequence[Owned]) -> None:
    """Tell it of these partitions, if there are any."""
    if owned:
        await tell(callback, sorted(one.place for one in owned))
