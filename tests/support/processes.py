"""A cluster of real node processes that a test can kill, pause and start again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp

from local.children import Child, start_child, stop_children
from local.folder import LocalFolder, LocalNode
from local.readiness import wait_ready

_PORTS = range(20_000, 32_000)
"""Below the range that the kernel takes outgoing ports from."""


class ProcessCluster:
    """Node processes n1, n2, ... on loopback, with their data below ``folder``."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.folder = folder
        self._dev = LocalFolder(folder)
        first = random.SystemRandom().choice(_PORTS)
        self.nodes: dict[str, LocalNode] = {
            node.name: node
            for node in self._dev.write_settings(count, http_port=first, peer_port=first + 1_000)
        }
        self.children: dict[str, Child] = {}

    @property
    def urls(self) -> list[str]:
        """Base URLs of all nodes, whether they run or not."""
        return [node.url for node in self.nodes.values()]

    def data_dir(self, name: str) -> Path:
        """The data folder of one node."""
        return self.folder / name

    async def start(self, *names: str) -> None:
        """Start the named nodes, or all."""
        for name in names or self.nodes:
            node = self.nodes[name]
            self.children[name] = await start_child(name, config=node.config, log=node.log)

    async def ready(self, *names: str) -> None:
        """Wait until the named nodes, or all, say that they are ready."""
        await wait_ready([self.nodes[name] for name in names or self.nodes])

    async def kill(self, *names: str) -> None:
        """SIGKILL, to all of them before any is waited for."""
        self._signal(signal.SIGKILL, names)
        for name in names:
            await self.children.pop(name).process.wait()

    def pause(self, *names: str) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP, names)

    def resume(self, *names: str) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT, names)

    async def stop(self, *names: str) -> dict[str, int | None]:
        """SIGTERM to the named nodes, or all that run; their exit codes."""
        gone = {name: self.children.pop(name) for name in names or tuple(self.children)}
        await stop_children(list(gone.values()))
        return {name: child.process.returncode for name, child in gone.items()}

    async def leaders(self, topic: str) -> dict[int, str | None]:
        """partition -> node id of its leader, as some running node sees it."""
        return {part["partition"]: part["leader"] for part in (await self.describe(topic))["partitions"]}

    async def describe(self, topic: str) -> dict[str, Any]:
        """The topic as some running node describes it."""
        return await self.get_json(f"/v1/topics/{topic}")

    async def get_json(self, path: str) -> dict[str, Any]:
        """GET from the first running node that answers 200."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            problems = []
            for name in self.children:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(self.nodes[name].url + path) as answer:
                        if answer.status == 200:
                            found: dict[str, Any] = await answer.json()
                            return found
                        problems.append(f"{name}: {answer.status} {await answer.text()}")
            raise AssertionError(f"no node answers GET {path}: {problems}")

    async def wait_in_sync(self, topic: str, *, deadline_s: float = 60) -> None:
        """Wait until every replica of every partition has all that its leader has."""
        wanted = set(self.nodes)
        async with asyncio.timeout(deadline_s):
            while True:
                partitions = (await self.describe(topic))["partitions"]
                if all(part["leader"] and set(part["in_sync"]) == wanted for part in partitions):
                    return
                await asyncio.sleep(0.1)

    def close(self) -> None:
        """Release the folder."""
        self._dev.close()

    def _signal(self, number: signal.Signals, names: Iterable[str]) -> None:
        for name in names:
            self.children[name].process.send_signal(number)

    def logs(self) -> str:
        """The last lines of every node, for the report of a failed test."""
        return "".join(
            "".join(f"{name}: {line}\n" for line in node.log.read_text(errors="replace").splitlines()[-15:])
            for name, node in self.nodes.items()
            if node.log.exists()
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path, count: int = 3) -> AsyncIterator[Self]:
        """A cluster that is ready, and that is gone afterwards, paused nodes included."""
        cluster = cls(folder, count)
        try:
            await cluster.start()
            await cluster.ready()
            yield cluster
        except BaseException:
            print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                cluster.resume(*cluster.children)
            await cluster.kill(*cluster.children)
            cluster.close()
