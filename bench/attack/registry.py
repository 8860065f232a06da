"""All attacks. A new kind is a module with ``attacks()``, named here."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from bench.attack import answers, bodies, overload, peers
from bench.attack.attack import Attack, Target


def attacks() -> Iterator[Attack]:
    """All attacks. The first one does nothing: the others are compared with it."""
    kinds = (bodies, answers, peers, overload)
    return itertools.chain([Attack("none", _nothing)], *(kind.attacks() for kind in kinds))


async def _nothing(target: Target) -> None:
    await asyncio.sleep(max(0.0, target.until - time.monotonic()))
