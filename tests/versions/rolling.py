"""What tests of two builds do to a node, and what they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster


async def logged(cluster: ProcessCluster, node: str, event: str, words: str) -> dict[str, Any]:
    """The first line of a node's log with this event whose reason has these words, once it is there."""
    async with asyncio.timeout(30):
        while True:
            for line in cluster.nodes[node].log.read_text().splitlines():
                found: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
                if found.get("event") == event and words in found["reason"]:
                    return found
            await asyncio.sleep(0.1)


async def restart(cluster: ProcessCluster, ledger: Ledger, name: str, code: Path | None) -> None:
    """One node goes to another build, and the cluster goes on."""
    await cluster.stop(name)
    await ledger.wait_acknowledged(500)
    if code is None:
        cluster.code.pop(name, None)
    else:
        cluster.code[name] = code
    await cluster.start(name)
    await cluster.ready(name)
    await ledger.wait_acknowledged(500)


async def until_ready_says(cluster: ProcessCluster, node: str, words: str) -> None:
    """Wait until a node is not ready, and gives a reason with these words."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(cluster.nodes[node].url + "/readyz") as answer:
                    if answer.status == 503 and words in await answer.text():
                        return
            await asyncio.sleep(0.1)
