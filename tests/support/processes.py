"""A cluster of real node processes that a test can kill, pause and start again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp

from local.cluster import LocalCluster


class ProcessCluster(LocalCluster):
    """Node processes n1, n2, ... on loopback, with their data below ``folder``, and what tests ask them."""

    @property
    def urls(self) -> list[str]:
        """Base URLs of all nodes, whether they run or not."""
        return [node.url for node in self.nodes.values()]

    async def leaders(self, topic: str) -> dict[int, str | None]:
        """partition -> node id of its leader, as some running node sees it."""
        return {part["partition"]: part["leader"] for part in (await self.describe(topic))["partitions"]}

    async def leader(self, topic: str, partition: int, *, deadline_s: float = 60) -> str:
        """Node id of a partition's leader, once some running node sees that there is one."""
        async with asyncio.timeout(deadline_s):
            while (found := (await self.leaders(topic))[partition]) is None:  # noqa: ASYNC110 - of processes
                await asyncio.sleep(0.05)
        return found

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

    async def wait_caught_up(self, topic: str, *, deadline_s: float = 60) -> None:
        """Once nobody writes: wait until every replica knows all that its leader has to be committed."""
        async with asyncio.timeout(deadline_s):
            while True:
                ends = {(await self._ends(topic, name)) for name in self.children}
                if len(ends) == 1 and None not in ends.pop():
                    return
                await asyncio.sleep(0.1)

    async def _ends(self, topic: str, name: str) -> tuple[int | None, ...]:
        """The high watermarks of all partitions as one node's own replicas know them."""
        timeout = aiohttp.ClientTimeout(total=30)  # It may be busy with catching up.
        url = f"{self.nodes[name].url}/v1/topics/{topic}?view=node"
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as answer,
        ):
            assert answer.status == 200, f"{name}: {answer.status} {await answer.text()}"
            return tuple(part["high_watermark"] for part in (await answer.json())["partitions"])

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
