"""What a greedy client costs modest ones: ``python -m bench.fairness [seconds]``, about two minutes.

Three node processes that ask who somebody is. Ten modest clients produce a small record now and then, and
nothing else; first alone, then beside a greedy one that produces as fast as it can over 16 connections and
does not listen when it is told to wait: without any quota, and with two. The modest ones are a process of
their own, and so is the greedy one, but all share this machine's cores. With a quota the modest ones should
keep 90% of their latency.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.idle import Nodes
from bench.machine import measure, percentile

SECONDS: Final = 4.0
TURNS: Final = 5
MODEST: Final = 10
PAUSE_S: Final = 0.05
GREEDY_CONNECTIONS: Final = 16
GREEDY_BYTES: Final = 64 << 10
QUOTAS: Final = (1 << 20, 64 << 10)
"""Bytes a second at each node. What the greedy one is allowed still costs the others something."""
TOPIC: Final = "fairness"
_RAW: Final = {"Content-Type": "application/octet-stream"}


@dataclass
class Seen:
    """Milliseconds of each answer with 200, and how often there was which."""

    took_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Load:
    """What a process of clients does: each sends so many bytes, pauses, and sends again."""

    urls: list[str]
    tokens: list[str]
    size: int
    pause_s: float


def _run(load: Load, pipe: Connection) -> None:
    asyncio.run(_clients(load, pipe))


async def _clients(load: Load, pipe: Connection) -> None:
    seen, ended = Seen(), asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client(number: int, token: str) -> None:
            url = f"{load.urls[number % len(load.urls)]}/v1/topics/{TOPIC}/partitions/{number % 3}/records"
            headers = {**_RAW, "Authorization": f"Bearer {token}"}
            body = bytes(load.size)
            await asyncio.sleep(load.pause_s * number / len(load.tokens))
            while not ended.is_set():
                began = time.perf_counter()
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                seen.statuses[answer.status] += 1
                if answer.status == 200:
                    seen.took_ms.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(load.pause_s)

        clients = [asyncio.create_task(client(*each)) for each in enumerate(load.tokens)]
        pipe.send("begun")
        await asyncio.to_thread(pipe.recv)
        ended.set()
        await asyncio.gather(*clients)
    pipe.send(seen)


async def under(loads: list[Load], seconds: float) -> list[Seen]:
    """What the clients of some loads see, each load in a process of its own, all at the same time."""
    started = []
    for load in loads:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(load, theirs), daemon=True)
        process.start()
        started.append((process, ours))
    for _, pipe in started:
        assert await asyncio.to_thread(pipe.recv) == "begun"
    await asyncio.sleep(seconds)
    for _, pipe in started:
        pipe.send("end")
    seen: list[Seen] = [await asyncio.to_thread(pipe.recv) for _, pipe in started]
    for process, _ in started:
        await asyncio.to_thread(process.join)
    return seen


class Administrator:
    """Asks what only it may ask for."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The document of the answer."""
        async with self._session.request(
            method, self._url + path, json=body, headers=self._headers
        ) as answer:
            text = await answer.text()
            assert answer.status < 300, text
            return await answer.json() if text else None


async def _token(nodes: Nodes) -> str:
    """The administrator's, which the metadata's leader puts into its folder."""
    async with asyncio.timeout(30):
        while True:
            for node in nodes.nodes:
                file = node.config.parent / node.name / "admin-token"
                if file.exists() and (text := file.read_text().strip()):
                    return text.split()[-1]
            await asyncio.sleep(0.1)


def _told(what: str, modest: Seen, alone: Seen | None, greedy: Seen | None) -> tuple[float, float]:
    """Print it; the parts of the speed alone that the modest ones keep, at the median and at p99."""
    p50, p99 = percentile(modest.took_ms, 0.5), percentile(modest.took_ms, 0.99)
    text = f"{what:28} modest: p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {dict(modest.statuses)}"
    kept = 1.0, 1.0
    if alone is not None:
        kept = percentile(alone.took_ms, 0.5) / p50, percentile(alone.took_ms, 0.99) / p99
        text += f"  keep {kept[0]:4.0%} and {kept[1]:4.0%}"
    if greedy is not None:
        text += f"  greedy: {dict(greedy.statuses)}"
    print(text, flush=True)
    return kept


async def main(seconds: float) -> None:
    """Run it, and print."""
    print(await asyncio.to_thread(measure))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        nodes = Nodes(Path(folder))
        for node in nodes.nodes:
            text = node.config.read_text()
            assert text.count("[http]\n") == 1, text
            node.config.write_text(text.replace("[http]\n", '[http]\nauthentication = "required"\n'))
        await nodes.start(nodes.nodes)
        try:
            await _measure(nodes, seconds)
        finally:
            await nodes.stop()


async def _measure(nodes: Nodes, seconds: float) -> None:
    urls = [node.url for node in nodes.nodes]
    async with aiohttp.ClientSession() as session:
        root = Administrator(session, urls[0], await _token(nodes))
        tokens = {}
        for name in ("greedy", *(f"modest{number}" for number in range(MODEST))):
            await root.ask("POST", "/v1/users", {"user": name})
            tokens[name] = (await root.ask("POST", f"/v1/users/{name}/tokens", {}))["token"]
        entry = {"principal": "*", "kind": "topic", "name": TOPIC, "operation": "write"}
        await root.ask("POST", "/v1/acls", {"acls": [entry]})
        await root.ask("PUT", f"/v1/topics/{TOPIC}", {"partitions": 3})
        modest = Load(urls, [token for name, token in tokens.items() if name != "greedy"], 1024, PAUSE_S)
        greedy = Load(urls, [tokens["greedy"]] * GREEDY_CONNECTIONS, GREEDY_BYTES, 0.0)
        await under([modest], 2.0)
        await _turns(root, modest, greedy, seconds)


async def _turns(root: Administrator, modest: Load, greedy: Load, seconds: float) -> None:
    """Each turn measures the modest ones alone, beside the greedy one, and alone again: what the machine does
    meanwhile affects all alike, and the two times alone show how much that is."""
    keep: dict[str, list[tuple[float, float]]] = {}
    for turn in range(TURNS):
        (alone,) = await under([modest], seconds)
        _told("alone", alone, None, None)
        for quota in (None, *QUOTAS):
            if quota is None and turn:
                continue  # Shown once; it is what quotas are for.
            if quota is not None:
                await root.ask("PUT", "/v1/quotas/greedy", {"produce_bytes_per_s": quota})
            what = "beside, without a quota" if quota is None else f"beside, with {quota >> 10} KiB/s"
            both = await under([modest, greedy], seconds)
            keep.setdefault(what, []).append(_told(what, both[0], alone, both[1]))
        (again,) = await under([modest], seconds)
        keep.setdefault("alone again", []).append(_told("alone again", again, alone, None))
        await root.ask("DELETE", "/v1/quotas/greedy")
    print(f"medians of {TURNS} turns, of p50 and p99 alone:")
    for what, kept in keep.items():
        p50, p99 = (statistics.median(column) for column in zip(*kept, strict=True))
        print(f"{what:28} modest ones keep {p50:4.0%} and {p99:4.0%}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
