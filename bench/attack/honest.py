"""The honest clients during an attack: one per node, which produces, fetches and asks for health in turn.

They run in a process of their own, so that the attacker's own cost does not slow them down.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from local.access import Access

TOPIC = "honest"
_PAUSE_S = 0.05
_ANSWER_S = 30.0
_JSON = {"Content-Type": "application/json"}


@dataclass
class Seen:
    """``worst_s``: the longest that one of them waited. ``good``: answered with 200; ``bad``: all others."""

    worst_s: float = 0.0
    good: int = 0
    bad: Counter[str] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def clients(urls: list[str], who: Mapping[str, str], ca: Path | None) -> AsyncIterator[Seen]:
    """They ask while the context is open; the result is complete after it. ``ca``: of https nodes."""
    seen = Seen()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(urls, dict(who), ca, theirs), daemon=True
    )
    process.start()
    try:
        assert await asyncio.to_thread(ours.recv) == "begun"
        yield seen
        ours.send("end")
        found: Seen = await asyncio.to_thread(ours.recv)
        seen.worst_s, seen.good, seen.bad = found.worst_s, found.good, found.bad
    finally:
        ours.close()
        await asyncio.to_thread(process.join, _ANSWER_S)


def _run(urls: list[str], who: dict[str, str], ca: Path | None, pipe: Connection) -> None:
    asyncio.run(_ask_all(urls, who, ca, pipe))


async def _ask_all(urls: list[str], who: dict[str, str], ca: Path | None, pipe: Connection) -> None:
    seen, ended = Seen(), asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    connector = aiohttp.TCPConnector(ssl=Access(ca).tls or True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=who) as session:
        asking = [asyncio.create_task(_ask_one(session, url, seen, ended)) for url in urls]
        pipe.send("begun")
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(pipe.recv)
        ended.set()
        await asyncio.gather(*asking)
    with contextlib.suppress(OSError):
        pipe.send(seen)


async def _ask_one(session: aiohttp.ClientSession, url: str, seen: Seen, ended: asyncio.Event) -> None:
    records = f"{url}/v1/topics/{TOPIC}/records"
    requests = (
        ("POST", records, b'{"key":"k","value":1}'),
        ("GET", f"{records}?from=-1&max_records=1", None),
        ("GET", f"{url}/healthz", None),
    )
    while not ended.is_set():
        for method, target, body in requests:
            begun = time.perf_counter()
            try:
                async with session.request(method, target, data=body, headers=_JSON) as answer:
                    await answer.read()
                    if answer.status == 200:
                        seen.good += 1
                    else:
                        seen.bad[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                seen.bad[type(error).__name__] += 1
            seen.worst_s = max(seen.worst_s, time.perf_counter() - begun)
        await asyncio.sleep(_PAUSE_S)
