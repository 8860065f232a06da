"""Workers of a queue, over HTTP: they get records, settle them well or badly, hold them too long, and die.

Every request is a single attempt. Some records are poison (nobody ever settles them) and some are rejected at
once, by their values, so that every run has dead letters; most of these are done when they are delivered
again. While what workers call is broken (``downstream.py``) all of them fail.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chaos.history import Deliveries, Delivery, Receive, Settle, Settlements, Settling
from chaos.record_value import number_of
from chaos.workload.queue_calls import QUEUE, Got, QueueCalls, request
from chaos.workload.site import Site, ticks

_TICK_S: Final = 0.15
_AT_ONCE_MAX: Final = 8
_AGAIN_S: Final = 0.02
_ALL_MAX: Final = 500
_LIFE_S: Final = (4.0, 15.0)
_STANDS_STILL_S: Final = (1.0, 7.0)
"""Up to more than a delivery lasts: others have its records then, and it does not know."""
_TRIES: Final = 6
_FAILS_SHARE: Final = 0.3
_MAKE_S: Final = 30.0
_EMPTY_S: Final = 60.0
_EMPTY_LOOKS: Final = 3


async def make_queue(site: Site) -> None:
    """Of the topic whose records have keys. Raises ``TimeoutError``."""
    calls = QueueCalls(site, "queue-maker")
    try:
        async with asyncio.timeout(_MAKE_S):
            async for _ in ticks(_TICK_S, asyncio.Event()):
                if await calls.make():
                    return
    finally:
        await calls.close()


async def work_off(site: Site, number: int) -> None:
    """One worker after the other, in one process. Runs until ``site.stop``."""
    process = f"worker-{number}"
    rng = site.rng(process)
    for _ in itertools.count():
        if site.stop.is_set():
            return
        worker = _Worker(site, process)
        try:
            await worker.live(rng)
        finally:
            await worker.close()


async def empty_queue(site: Site) -> None:
    """Settle all that is left, once nobody else works: what the checker then misses, nobody settled."""
    worker = _Worker(site, "last-worker")
    loop = asyncio.get_running_loop()
    ends, empty = loop.time() + _EMPTY_S, 0
    try:
        while empty < _EMPTY_LOOKS and loop.time() < ends:
            got = await worker.receive([], wait_s=0.3, max_records=_ALL_MAX)
            await worker.settle_all()
            if got is None:
                await asyncio.sleep(_AGAIN_S)
            elif not got:
                state = await worker.calls.look()
                if state is not None:  # else: the node whose turn it was is not there
                    empty = empty + 1 if state.depth == 0 else 0
                await asyncio.sleep(_TICK_S)
    finally:
        await worker.close()


@dataclass(slots=True)
class _Held:
    """A record that a worker has, and what it has said of it, if anything."""

    receipt: str
    at: Delivery
    said: Settling | None = None
    tries: int = 0


class _Worker:
    """``_held``: what it has, by where it is."""

    def __init__(self, site: Site, process: str) -> None:
        self.calls = QueueCalls(site, process)
        self._site = site
        self._process = process
        self._held: dict[tuple[bool, int, int], _Held] = {}

    async def close(self) -> None:
        """Its connections end."""
        await self.calls.close()

    async def live(self, rng: random.Random) -> None:
        """Until it goes or dies; what it has then is delivered again."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + rng.uniform(*_LIFE_S)
        end = rng.choice(("goes", "dies", "stands still"))
        async for _ in ticks(_TICK_S, self._site.stop):
            if self._site.pauses.of_all:
                continue
            if loop.time() >= ends:
                if end == "dies":
                    return
                if end == "goes":
                    await self._settle(self._decide(rng))
                    return
                await asyncio.sleep(rng.uniform(*_STANDS_STILL_S))
                ends, end = ends + _LIFE_S[1], "goes"
            said = self._decide(rng)
            if rng.random() < 0.5:
                await self.receive(said)
            else:
                await self._settle(said)
                await self.receive([])

    async def settle_all(self) -> None:
        """What it has is done with: said until there is an answer, whichever nodes are gone."""
        while self._held:
            said = list(self._held.values())
            for held in said:
                held.said = _saying(held.at, "ack")
                held.tries += 1
            await self._settle(said)

    def _decide(self, rng: random.Random) -> list[_Held]:
        """What it says now. Some it keeps, and says that it lives."""
        said = []
        for held in self._held.values():
            if held.said is None or held.said.action == "extend":
                held.said = _said(held.at, rng, is_broken=self._site.downstream.is_broken)
            if held.said is not None:
                held.tries += 1
                said.append(held)
        return said

    async def receive(
        self, said: Sequence[_Held], *, wait_s: float = 0.0, max_records: int = _AT_ONCE_MAX
    ) -> Sequence[Delivery] | None:
        """More, after what is said; None without an answer."""
        action = Receive(QUEUE, [held.said for held in said if held.said is not None])
        body = {"settlements": _settlements(said)} if said else None
        query: dict[str, str | int] = {
            "max": max_records,
            "wait": f"{round(wait_s * 1000)}ms",
            "worker": self._process,
        }
        records: list[Got] = []
        result = await self.calls.ask(action, request("POST", "/receive", body, **query), records=records)
        if not isinstance(result, Deliveries):
            self._forget(said, None)
            return None
        self._forget(said, result.settled)
        for got, delivery in zip(records, result.records, strict=True):
            self._held[_place(delivery)] = _Held(got.receipt, delivery)
        return result.records

    async def _settle(self, said: Sequence[_Held]) -> None:
        if not said:
            return
        action = Settle(QUEUE, [held.said for held in said if held.said is not None])
        asked = request("POST", "/settle", {"settlements": _settlements(said)})
        result = await self.calls.ask(action, asked)
        self._forget(said, result.settled if isinstance(result, Settlements) else None)

    def _forget(self, said: Sequence[_Held], results: Sequence[str] | None) -> None:
        """What is settled or late; what had no answer is said again, but not for ever."""
        for number, held in enumerate(said):
            is_told = results is not None
            keeps = held.said is not None and held.said.action == "extend"
            if is_told and keeps and results is not None and results[number] != "late":
                continue
            if is_told or held.tries >= _TRIES:
                place = _place(held.at)
                if self._held.get(place) is held:
                    del self._held[place]


def _place(at: Delivery) -> tuple[bool, int, int]:
    return at.again, at.partition, at.offset


def _said(at: Delivery, rng: random.Random, *, is_broken: bool) -> Settling | None:
    """By the record, and by chance; None: nothing yet."""
    number = number_of(at.value)
    # Of those that have died once, every fourth does so again, as often as it is delivered again.
    is_cured = at.again and number % 4 > 0
    if is_broken:
        # Calls end one after the other, so there is work in hand when the queue pauses, and fails then.
        action = "nack" if rng.random() < _FAILS_SHARE else ""
    elif number % 61 == 7 and not is_cured:
        action = "nack"
    elif number % 83 == 11 and not is_cured:
        action = "reject"
    else:
        action = rng.choices(("ack", "nack", "extend", ""), (90, 3, 3, 4))[0]
    return _saying(at, action) if action else None


def _saying(at: Delivery, action: str) -> Settling:
    return Settling(at.partition, at.offset, at.deliveries, action, at.again)


def _settlements(said: Sequence[_Held]) -> list[dict[str, Any]]:
    return [
        {
            "receipt": held.receipt,
            "action": held.said.action,
            **({"reason": "by chaos"} if held.said.action == "reject" else {}),
        }
        for held in said
        if held.said is not None
    ]
