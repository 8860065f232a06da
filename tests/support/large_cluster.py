"""Processes of large_host.py: started, given orders, killed with SIGKILL, started again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from local.ports import PortBlock, pick_ports
from tests.support.large_host import LARGE

NAMES = ("n1", "n2", "n3")


class NodeEnded(Exception):
    """The process has ended: what it was asked for has no answer."""


class Process:
    """One process, with an answer for each order."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._count = itertools.count()
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.killed = False

    async def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Raises ``NodeEnded``."""
        number = next(self._count)
        answer = asyncio.get_running_loop().create_future()
        if self._reading.done():
            raise NodeEnded
        self._open[number] = answer
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps({"order": number, "do": do, **order}).encode() + b"\n")
        found: dict[str, Any] = await answer
        return found

    async def kill(self) -> None:
        """SIGKILL, and wait until it has ended."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            if "started" in answer:
                self.started.set_result(None)
            elif "order" in answer and not (future := self._open.pop(answer["order"])).done():
                future.set_result(answer)
        for future in [self.started, *self._open.values()]:
            if not future.done():
                future.set_exception(NodeEnded())
                future.exception()  # Whoever waits hears of it; nobody has to.

    def why(self) -> str:
        """What it has written besides, to show why it ended."""
        return self._log.read_text(errors="replace")[-3000:]


class LargeCluster:
    """Three nodes on loopback, with their files below ``folder``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._folder = folder
        self._block = PortBlock()
        ports = pick_ports(len(NAMES), first=self._block.first)
        self._settings = {
            "ports": dict(zip(NAMES, ports, strict=True)),
            "segment_bytes": 16 << 20,
            "chunk_bytes": 256 << 10,
            "checkpoint_idle_s": 1e6,
            "checkpoint_bytes": 1 << 60,
            "measure": False,
            **settings,
        }
        self.running: dict[str, Process] = {}

    def replica(self, name: str) -> Path:
        """The folder of a node's replica of the large group."""
        return self._folder / name / "groups" / str(LARGE)

    async def start(self, *names: str) -> None:
        """Start nodes; they have opened their files on return."""
        await asyncio.gather(*(self._start(name) for name in names or NAMES))

    async def _start(self, name: str) -> None:
        settings = {"name": name, "folder": str(self._folder / name), **self._settings}
        log = self._folder / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.large_host", json.dumps(settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                cwd=Path(__file__).parents[2],
                env={**os.environ},
                limit=1 << 24,
            )
        node = self.running[name] = Process(process, log)
        try:
            await node.started
        except NodeEnded:
            raise AssertionError(f"{name} did not start:\n{node.why()}") from None

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        await self.running.pop(name).kill()

    def check_alive(self) -> None:
        """Nobody ends but by our hand."""
        for name, node in self.running.items():
            assert not node._reading.done(), f"{name} ended by itself:\n{node.why()}"

    async def leader(self, key: str = "leads") -> str:
        """Who leads the large group, once somebody is ready to."""
        async with asyncio.timeout(60):
            while True:
                self.check_alive()
                for name, node in list(self.running.items()):
                    with contextlib.suppress(NodeEnded):
                        if (await node.ask("status"))[key]:
                            return name
                await asyncio.sleep(0.02)

    async def status(self, name: str) -> dict[str, Any]:
        """Of one node."""
        return await self.running[name].ask("status")

    async def level(self) -> int:
        """Wait until all running nodes have applied all that the leader has; that index."""
        async with asyncio.timeout(120):
            while True:
                leader = await self.leader()
                last = (await self.status(leader))["last"]
                applied = {(await self.status(name))["applied"] for name in self.running}
                if applied == {last}:
                    return last
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        """End all processes."""
        for name in list(self.running):
            await self.kill(name)
        self._block.close()


@contextlib.asynccontextmanager
async def large_cluster(folder: Path, **settings: Any) -> AsyncIterator[LargeCluster]:
    """Running nodes; they are ended whatever happens."""
    cluster = LargeCluster(folder, **settings)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.close()
