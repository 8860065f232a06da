"""Planned changes of a cluster's nodes under load: ``python -m bench.reshaping``, some minutes.

Three nodes grow to five and shrink back to three, then every node is restarted in turn, and then one is lost
for good and comes back with an empty disk. All the while idempotent producers write to every partition of a
topic and a consumer reads all of them, both with the client's default retries. Printed for each step: how
long it took, the longest time in which one of the partitions acknowledged nothing, and how many requests
failed. Ends with 1 when a record is lost, doubled or out of order, or a request fails. Unplanned
events are in ``bench.reshaping_broken``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.console import not_quiet, to_stderr
from bench.machine import measure
from bench.rolling import GOAL_GAP_S, roll_timed
from bench.traffic import Traffic, add_options
from local.cluster import LocalCluster
from local.health import wait_healthy

LOST_GAP_S: Final = 3.0
"""Where a node is killed."""
STEP_S: Final = 300.0
_LOOK_S: Final = 0.2
_ANSWER_S: Final = 5.0
_STEADY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """One change of shape, on ``time.monotonic``."""

    what: str
    goal_s: float
    began: float
    ended: float


class Reshape:
    """The steps, each to its end, which is known from the cluster's own answers."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.steps: list[Step] = []

    @property
    def urls(self) -> dict[str, str]:
        """Of all nodes that run."""
        return {name: self.cluster.nodes[name].url for name in self.cluster.children}

    async def step(self, what: str, work: Awaitable[Any], *, goal_s: float = GOAL_GAP_S) -> None:
        """Do it, and wait until every node says that the cluster is healthy."""
        to_stderr(f"{what} ...")
        began = time.monotonic()
        async with asyncio.timeout(STEP_S):
            await work
            await wait_healthy(self.urls, timeout_s=STEP_S)
        self.steps.append(Step(what, goal_s, began, time.monotonic()))

    async def join(self, name: str) -> None:
        """A further node joins, and all nodes know it."""
        self.cluster.add(name)
        await self.cluster.start(name)
        await self.cluster.ready(name)
        await self.until("/v1/nodes", lambda said: any(node["node_id"] == name for node in said["nodes"]))

    async def rebalance(self) -> None:
        """Until all nodes have their share."""
        await self.send("POST", "/v1/cluster/rebalance")
        await self.until("/v1/cluster/rebalance", lambda said: not said["rebalancing"])

    async def drain(self, name: str) -> None:
        """Drain a node, and wait until it has no replicas."""
        await self.send("POST", f"/v1/nodes/{name}/drain")
        await self.drained(name)

    async def drained(self, name: str) -> None:
        """Wait until a node that is being drained has no replicas."""
        await self.until(f"/v1/nodes/{name}/drain", lambda said: said["replicas"] == 0)

    async def remove(self, name: str) -> None:
        """Remove the node from the cluster, and end its process."""
        await self.send("DELETE", f"/v1/nodes/{name}")
        await self.cluster.stop(name)

    async def lose(self, name: str) -> None:
        """Replace its disk by an empty one; it comes back under its name."""
        await self.cluster.kill(name)
        await asyncio.to_thread(shutil.rmtree, self.cluster.data_dir(name))
        await self.cluster.start(name)
        await self.cluster.ready(name)

    async def until(self, path: str, holds: Callable[[Any], bool], *, look_s: float = _LOOK_S) -> Any:
        """Ask the nodes in turn, again and again, until an answer is as it should be: that answer."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
            turn = 0
            while True:
                urls = list(self.urls.values())
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # it is down, or cut off
                    async with session.get(urls[turn % len(urls)] + path) as answer:
                        if answer.status == 200 and holds(said := await answer.json()):
                            return said
                turn += 1
                await asyncio.sleep(look_s)

    async def send(self, method: str, path: str) -> None:
        """A change of the cluster. Raises ``RuntimeError`` when it is refused."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, next(iter(self.urls.values())) + path) as answer,
        ):
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")


async def through_all_shapes(shape: Reshape, *, steady_s: float) -> None:
    """From three nodes to five, back to other three, each of them restarted, and one with a new disk."""
    await shape.step("as it was", asyncio.sleep(steady_s))
    for name in ("n4", "n5"):
        await shape.step(f"{name} joins", shape.join(name))
    await shape.step("rebalanced over five", shape.rebalance())
    for name in ("n1", "n2"):
        await shape.step(f"{name} is drained", shape.drain(name))
        await shape.step(f"{name} is removed", shape.remove(name))
    await shape.step("all three restarted in turn", roll_timed(shape.cluster, names=list(shape.urls)))
    await shape.step("n3 is lost and replaced", shape.lose("n3"), goal_s=LOST_GAP_S)
    await shape.step("as it is", asyncio.sleep(steady_s))


def table(steps: list[Step], traffic: Traffic) -> str:
    """One line for each step."""
    lines = [f"{'step':<44}{'took':>10}{'longest gap':>14}{'goal':>10}{'failed':>8}"]
    for each in steps:
        gap = traffic.longest_gap_s(each.began, each.ended)
        lines.append(
            f"{each.what:<44}{each.ended - each.began:>8.1f} s{gap * 1000:>11.0f} ms"
            f"{each.goal_s * 1000:>7.0f} ms{traffic.failed(each.began, each.ended):>8}"
        )
    return "\n".join(lines)


async def run(arguments: argparse.Namespace) -> int:
    """1 when a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="floodmark-reshaping-") as folder:
        cluster = LocalCluster(Path(folder) / "cluster", 3)
        shape = Reshape(cluster)
        await cluster.start()
        await cluster.ready()
        traffic = Traffic(
            list(shape.urls.values()), arguments.partitions, arguments.producers, arguments.megabytes * 1e6
        )
        try:
            async with traffic.running():
                await through_all_shapes(shape, steady_s=_STEADY_S)
                ended = time.monotonic()
        finally:
            await cluster.kill(*cluster.children)
            cluster.close()
    print(table(shape.steps, traffic))
    print(traffic.told(ended - shape.steps[0].began))
    return 1 if traffic.failures or traffic.problems else 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add_options(parser)
    arguments = parser.parse_args()
    print(measure())
    if note := not_quiet():
        print(note)
    return asyncio.run(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
