"""A checkout of the project: three of its nodes, and a process of its client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.accounting import usage

_CLIENT: Final = Path(__file__).with_name("client_work.py")
_READY_S: Final = 60.0
_STOP_S: Final = 30.0


class Checkout:
    """Made by ``started``."""

    def __init__(self, cluster: Process, client: Process, urls: list[str]) -> None:
        self._cluster = cluster
        self._client = client
        self.urls = urls

    def used_s(self) -> float:
        """Processor time of all nodes and their helpers until now."""
        return usage([self._cluster.pid]).cpu_s

    async def by_client(self, kind: str, topic: str, seconds: float) -> tuple[int, float]:
        """Have the checkout's own client work; how many operations it did, and its processor seconds."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        order = {"kind": kind, "topic": topic, "seconds": seconds, "urls": self.urls}
        self._client.stdin.write(json.dumps(order).encode() + b"\n")
        line = await asyncio.wait_for(self._client.stdout.readline(), seconds + 60)
        answer = json.loads(line)
        return answer["count"], answer["cpu_s"]


@contextlib.asynccontextmanager
async def started(folder: Path, first_port: int) -> AsyncIterator[Checkout]:
    """As a user starts it, with the interpreter of its ``.venv``; data in a temporary folder."""
    python = str(folder / ".venv" / "bin" / "python")
    ports = ("--http-port", str(first_port), "--peer-port", str(first_port + 50))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    cluster = await asyncio.create_subprocess_exec(
        *(python, "-m", "cli.main", "dev", "--temp", "--no-profile", *ports),
        cwd=folder,
        env=environment,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        urls = await asyncio.wait_for(_until_ready(cluster), _READY_S)
        client = await asyncio.create_subprocess_exec(
            python, str(_CLIENT), cwd=folder, env=environment, stdin=PIPE, stdout=PIPE
        )
        try:
            yield Checkout(cluster, client, urls)
        finally:
            with contextlib.suppress(ProcessLookupError):
                client.kill()
            await client.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            cluster.send_signal(signal.SIGINT)
        await asyncio.wait_for(cluster.wait(), _STOP_S)


async def _until_ready(cluster: Process) -> list[str]:
    assert cluster.stderr is not None
    said: list[str] = []
    async for line in cluster.stderr:
        said.append(line.decode().rstrip())
        if line.startswith(b"ready:"):
            return [word for word in said[-1].split() if word.startswith("http://")]
    raise RuntimeError(f"the cluster did not start: {said[-5:]}")


async def make_topic(session: aiohttp.ClientSession, checkout: Checkout, topic: str) -> tuple[str, str]:
    """One partition with three replicas; the base URLs of its leader and of a follower."""
    url = f"{checkout.urls[0]}/v1/topics/{topic}"
    async with session.put(url, json={"partitions": 1, "replication_factor": 3}) as answer:
        assert answer.status == 201, await answer.text()
    while True:
        async with session.get(url) as answer:
            described: Any = await answer.json()
        leader = described["partitions"][0]["leader"]
        if leader is not None:
            break
        await asyncio.sleep(0.05)
    async with session.get(f"{checkout.urls[0]}/v1/nodes") as answer:
        nodes: Any = (await answer.json())["nodes"]
    at = {node["node_id"]: node["http"].rstrip("/") for node in nodes}
    return at[leader], next(url for node, url in at.items() if node != leader)
