"""Who looks after a queue: has dead letters delivered again in all the ways there are, and purges a few."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any, Final

from chaos.history import Counted, LetterAt, Letters, ListDead, PurgeDead, Replay
from chaos.polling import until
from chaos.workload.queue_calls import QUEUE, Listed, QueueCalls, request
from chaos.workload.site import Site, ticks

_EVERY_S: Final = 1.0
_REPLAY_SHARE: Final = 0.4
_WAYS: Final = ("all", "ids", "key", "header", "purge")
_WEIGHTS: Final = (2, 3, 3, 3, 1)
_PURGED_MAX: Final = 2
_SLOW_SHARE: Final = 0.3
_PER_SECOND: Final = 40
_PAGE: Final = 1_000
_LAST_S: Final = 30.0
_AGAIN_S: Final = 0.2


async def replay_now_and_then(site: Site) -> None:
    """Look at the queue and its dead letters, and replay some. Runs until ``site.stop``."""
    minder = _Minder(site, "minder")
    rng = site.rng("minder")
    try:
        async for _ in ticks(_EVERY_S, site.stop):
            if site.pauses.of_all:
                continue
            await minder.calls.look()
            listed = await minder.listed()
            if listed and rng.random() < _REPLAY_SHARE:
                await minder.replay_some(rng, listed)
    finally:
        await minder.calls.close()


async def replay_all(site: Site) -> None:
    """All that are listed, once nobody works: said until there is an answer."""
    async with _last(site) as minder:
        await until(minder.lists, every_s=_AGAIN_S)
        await until(minder.replays_all, every_s=_AGAIN_S)


async def list_dead(site: Site) -> None:
    """What is listed at the end."""
    async with _last(site) as minder:
        await until(minder.lists, every_s=_AGAIN_S)


@contextlib.asynccontextmanager
async def _last(site: Site) -> AsyncIterator[_Minder]:
    minder = _Minder(site, "last-minder")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                yield minder
    finally:
        await minder.calls.close()


class _Minder:
    def __init__(self, site: Site, process: str) -> None:
        self.calls = QueueCalls(site, process)

    async def listed(self) -> list[Listed] | None:
        """All dead letters, as far as they are on one page; None without an answer."""
        found: list[Listed] = []
        asked = request("GET", "/dead", None, limit=_PAGE)
        result = await self.calls.ask(ListDead(QUEUE), asked, listed=found)
        return found if isinstance(result, Letters) else None

    async def lists(self) -> bool:
        """Whether it has found that out."""
        return await self.listed() is not None

    async def replays_all(self) -> bool:
        """Whether that was answered."""
        return await self._replay({"all": True}, Replay(QUEUE)) is not None

    async def replay_some(self, rng: random.Random, listed: list[Listed]) -> None:
        """In one of the ways; now and then one after the other."""
        way = rng.choices(_WAYS, _WEIGHTS)[0]
        some = rng.sample(listed, rng.randint(1, len(listed)))
        per_second = _PER_SECOND if rng.random() < _SLOW_SHARE else 0
        if way == "all":
            await self._replay({"all": True}, Replay(QUEUE, per_second=per_second))
        elif way == "ids":
            letters = [_at(each) for each in some]
            body = {"ids": [each.id for each in some]}
            await self._replay(body, Replay(QUEUE, letters, per_second=per_second))
        elif way == "key":
            prefix = f"k{rng.randint(1, 9)}"
            await self._replay(
                {"key_prefix": prefix}, Replay(QUEUE, key_prefix=prefix, per_second=per_second)
            )
        elif way == "header":
            partition = some[0].dead_letter.partition
            headers = {"floodmark-dead-partition": str(partition)}
            await self._replay({"headers": headers}, Replay(QUEUE, died_in=partition, per_second=per_second))
        else:
            few = some[:_PURGED_MAX]
            asked = request("POST", "/dead/purge", {"ids": [each.id for each in few]})
            await self.calls.ask(PurgeDead(QUEUE, [_at(each) for each in few]), asked)

    async def _replay(self, body: dict[str, Any], action: Replay) -> Counted | None:
        body["per_second"] = action.per_second
        result = await self.calls.ask(action, request("POST", "/dead/replay", body))
        return result if isinstance(result, Counted) else None


def _at(letter: Listed) -> LetterAt:
    return LetterAt(letter.dead_letter.partition, letter.dead_letter.offset)
