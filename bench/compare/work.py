"""How a case works: requests by this process, or orders to a checkout's own client."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from floodmark.format import batch
from floodmark.format.record import Record

from bench.compare.checkout import Checkout

BATCH: Final = "application/vnd.floodmark.batch;v=1"
PATH: Final = "/v1/topics/{}/partitions/0/records"


@dataclass(frozen=True, slots=True)
class Target:
    """A topic of one partition in one checkout's cluster."""

    checkout: Checkout
    session: aiohttp.ClientSession
    topic: str
    leader: str
    follower: str


@dataclass(frozen=True, slots=True)
class Done:
    """Of one turn: how much, and what it cost the client's process (0: the benchmark's own, not counted)."""

    count: int
    client_s: float = 0.0


Work = Callable[[Target, float], Awaitable[Done]]
Request = tuple[str, str, bytes, dict[str, str]]
"""Method, URL, body, headers."""


def produce(
    body: bytes,
    media: str,
    *,
    callers: int = 1,
    headers: dict[str, str] | None = None,
    follower: bool = False,
) -> Work:
    """The same body again and again."""
    head = {"Content-Type": media, **(headers or {})}

    async def run(target: Target, seconds: float) -> Done:
        url = (target.follower if follower else target.leader) + PATH.format(target.topic)
        return await _asked(target, seconds, callers, lambda: ("POST", url, body, head))

    return run


def idempotent(records: list[Record]) -> Work:
    """One batch after the other, by a new producer each turn."""
    numbers = itertools.count(1)

    async def run(target: Target, seconds: float) -> Done:
        name = batch.producer_id_of(f"compare-{next(numbers)}")
        plain = batch.encode(records, producer_id=name)
        sequences = itertools.count(0)
        url = target.leader + PATH.format(target.topic)

        def request() -> Request:
            body = batch.restamp(plain, producer_epoch=0, sequence=next(sequences))
            return "POST", url, body, {"Content-Type": BATCH}

        return await _asked(target, seconds, 1, request)

    return run


def page(accept: str, query: str) -> Work:
    """The same page again and again, by two readers."""

    async def run(target: Target, seconds: float) -> Done:
        url = target.leader + PATH.format(target.topic) + query
        return await _asked(target, seconds, 2, lambda: ("GET", url, b"", {"Accept": accept}))

    return run


async def _asked(
    target: Target,
    seconds: float,
    callers: int,
    request: Callable[[], tuple[str, str, bytes, dict[str, str]]],
) -> Done:
    """So many callers, each with one request after the other."""
    end = time.perf_counter() + seconds

    async def call() -> int:
        count = 0
        while time.perf_counter() < end:
            method, url, body, headers = request()
            async with target.session.request(method, url, data=body or None, headers=headers) as answer:
                text = await answer.read()
                assert answer.status == 200, text[:300]
            count += 1
        return count

    return Done(sum(await asyncio.gather(*(call() for _ in range(callers)))))


def client(kind: str) -> Work:
    """What ``client_work.py`` calls ``kind``."""

    async def run(target: Target, seconds: float) -> Done:
        return Done(*await target.checkout.by_client(kind, target.topic, seconds))

    return run
