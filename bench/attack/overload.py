"""Plain overload, and a control run: the same cluster while other processes use all processors."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

from bench.attack.attack import TOPIC, Attack, Target

_PRODUCERS = 200
_POLLS = 500
_MANY = f"{TOPIC}-overload-many"
_PARTITIONS = 1_000
_REFUSED_PAUSE_S = 1.0
"""The delay that Retry-After asks for. Clients that only overload a node obey it, attackers do not."""
_BURNERS_PER_CORE = 4


def attacks() -> Iterator[Attack]:
    """The control run comes last: both have the same partitions."""
    yield Attack(
        f"overload: {_PRODUCERS} producers of 1 MiB, {_POLLS} long polls", _overload, prepare=_many_partitions
    )
    yield Attack("overload, control: others burn all processors", _burn, prepare=_many_partitions)


async def _many_partitions(target: Target) -> None:
    path = f"{target.urls[0]}/v1/topics/{_MANY}"
    async with target.session.put(f"{path}?timeout=60s", json={"partitions": _PARTITIONS}) as made:
        assert made.status == 201, await made.text()
    # Wait until preferred leaders lead: those moves are not caused by the load.
    while True:
        async with target.session.get(path) as described:
            partitions = (await described.json())["partitions"]
        if all(partition["leader"] == partition["replicas"][0] for partition in partitions):
            return
        await asyncio.sleep(0.5)


async def _overload(target: Target) -> None:
    body = os.urandom((1 << 20) - 10)
    kind = {"Content-Type": "application/octet-stream"}

    async def produce(url: str) -> None:
        while target.goes_on:
            refused = target.answers["429"] + target.answers["503"]
            await target.ask("POST", f"{url}/v1/topics/{TOPIC}/records", body=body, headers=kind)
            if target.answers["429"] + target.answers["503"] > refused:
                await asyncio.sleep(_REFUSED_PAUSE_S)

    async def poll(url: str) -> None:
        while target.goes_on:
            path = f"/v1/topics/{_MANY}/partitions/0/records?from=latest&wait=5s"
            await target.ask("GET", url + path)

    urls = target.urls
    await asyncio.gather(
        *(produce(urls[number % len(urls)]) for number in range(_PRODUCERS)),
        *(poll(urls[number % len(urls)]) for number in range(_POLLS)),
    )


async def _burn(target: Target) -> None:
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    count = _BURNERS_PER_CORE * (os.cpu_count() or 1)
    burners = [context.Process(target=_spin, args=(ended,), daemon=True) for _ in range(count)]
    for burner in burners:
        burner.start()
    await asyncio.sleep(max(0.0, target.until - time.monotonic()))
    ended.set()
    for burner in burners:
        await asyncio.to_thread(burner.join)


def _spin(ended: Event) -> None:
    while not ended.is_set():
        sum(range(10_000))
