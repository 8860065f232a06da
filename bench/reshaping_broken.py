"""Moves of replicas with failures in the middle, under load: ``python -m bench.reshaping_broken``.

Five nodes, whose links are proxies. A node is drained again and again, and while its replicas are moving
something fails: the controller, the drained node or a learner is killed, or messages from the controller or
to the learner are lost. Then the plan has to end by itself. All the while idempotent producers write to every
partition and a consumer reads all of them, both with the client's default retries. Printed for each step:
how many moves were under way, how long until the plan had ended, the longest time in which one of the
partitions acknowledged nothing, and how many requests failed; and the 99th percentile of these times over
partitions and steps. Ends with 1 when a record is lost, doubled or out of order, or that percentile is above
its goal.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.console import not_quiet, to_stderr
from bench.machine import measure, percentile
from bench.reshaping import LOST_GAP_S, STEP_S, Reshape
from bench.traffic import Traffic, add_options
from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Cut, Fault, Injection, Kill
from local.health import wait_healthy

NODES: Final = 5
_MOVES: Final = "/v1/reassignments"
_LOOK_S: Final = 0.02
_STEADY_S: Final = 5.0
_FAULT_S: Final = 3.0
"""Longer than an election takes: the others have to go on without waiting for it to be over."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A drain under way: the drained node, the nodes that get replicas, and the controller."""

    drained: str
    learners: list[str]
    controller: str
    moves: int


Breaks = Callable[[Moving], Fault]

BREAKS: Final[dict[str, Breaks]] = {
    "the controller is killed": lambda now: Kill(aim=Aim(node=now.controller)),
    "the drained node is killed": lambda now: Kill(aim=Aim(node=now.drained)),
    "the learner is killed": lambda now: Kill(aim=Aim(node=now.learners[0])),
    "nobody hears the controller": lambda now: Cut(aim=Aim(node=now.controller), direction="out"),
    "the learner hears nobody": lambda now: Cut(aim=Aim(node=now.learners[0]), direction="in"),
}
"""The failures in the middle of moves."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A step, on ``time.monotonic``: from the drain to when its plan had ended and all was well."""

    what: str
    moves: int
    """Under way when it happened."""
    began: float
    broken: float
    ended: float


class Breaking:
    """The steps, each to its end."""

    def __init__(self, cluster: ChaosCluster, *, fault_s: float = _FAULT_S) -> None:
        self._cluster = cluster
        self._shape = Reshape(cluster.processes)
        self._fault_s = fault_s
        self.steps: list[Broken] = []

    async def step(self, what: str, breaks: Breaks) -> None:
        """Drain a node, break something once replicas move, and wait until all are where they belong."""
        to_stderr(f"{what} ...")
        began = time.monotonic()
        async with asyncio.timeout(STEP_S):
            now = await self._begin_to_drain()
            injection = Injection(breaks(now), self._cluster)
            broken = time.monotonic()
            async with injection:
                # The others go on meanwhile: whatever the plan needs of them it may do at once.
                await asyncio.sleep(self._fault_s)
            await self._cluster.ready()
            await self._shape.drained(now.drained)
            await self._shape.until(_MOVES, lambda said: not said["reassignments"])
            await wait_healthy(self._shape.urls, timeout_s=STEP_S)
        self.steps.append(Broken(what, now.moves, began, broken, time.monotonic()))
        await self._shape.send("DELETE", f"/v1/nodes/{now.drained}/drain")
        await self._shape.rebalance()

    async def _begin_to_drain(self) -> Moving:
        """A node with replicas that does not lead the metadata; returns while they are on their way."""
        controller = await self._cluster.view.metadata_leader()
        said = await self._shape.until("/v1/nodes", lambda said: all("replicas" in n for n in said["nodes"]))
        held = {node["node_id"]: node["replicas"] or 0 for node in said["nodes"]}
        drained = max((name for name in held if name != controller), key=lambda name: (held[name], name))
        await self._shape.send("POST", f"/v1/nodes/{drained}/drain")
        others = {controller, drained}

        def has_learner(said: Any) -> bool:
            return any(set(move["adding"]) - others for move in said["reassignments"])

        moves = (await self._shape.until(_MOVES, has_learner, look_s=_LOOK_S))["reassignments"]
        learners = sorted({node for move in moves for node in move["adding"]} - others)
        return Moving(drained, learners, controller, len(moves))


async def break_all(breaking: Breaking, *, rounds: int, between: Callable[[], Awaitable[Any]]) -> None:
    """Each of them, in as many rounds; the cluster is itself again after each."""
    for _ in range(rounds):
        for what, breaks in BREAKS.items():
            await between()
            await breaking.step(what, breaks)


def table(steps: list[Broken], traffic: Traffic) -> str:
    """One line for each step."""
    lines = [f"{'step':<32}{'moves':>6}{'ended after':>13}{'longest gap':>14}{'goal':>10}{'failed':>8}"]
    for each in steps:
        gap = traffic.longest_gap_s(each.began, each.ended)
        lines.append(
            f"{each.what:<32}{each.moves:>6}{each.ended - each.began:>11.1f} s{gap * 1000:>11.0f} ms"
            f"{LOST_GAP_S * 1000:>7.0f} ms{traffic.failed(each.began, each.ended):>8}"
        )
    return "\n".join(lines)


def p99_s(steps: list[Broken], traffic: Traffic) -> float:
    """Of the longest gap of each partition in each step."""
    return percentile([gap for each in steps for gap in traffic.gaps_s(each.began, each.ended)], 0.99)


async def run(arguments: argparse.Namespace) -> int:
    """1 when a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="floodmark-reshaping-") as folder:
        async with ChaosCluster.running(Path(folder) / "cluster", NODES) as cluster:
            traffic = Traffic(
                cluster.urls, arguments.partitions, arguments.producers, arguments.megabytes * 1e6
            )
            breaking = Breaking(cluster)
            async with traffic.running():
                began = time.monotonic()
                await break_all(breaking, rounds=arguments.rounds, between=lambda: asyncio.sleep(_STEADY_S))
                ended = time.monotonic()
            died = cluster.died()
    p99 = p99_s(breaking.steps, traffic)
    print(table(breaking.steps, traffic))
    print(f"p99 of the longest gaps of all partitions: {p99 * 1000:.0f} ms (goal {LOST_GAP_S * 1000:.0f})")
    print(traffic.told(ended - began))
    print("no node ended by itself" if not died else f"nodes that ended by themselves: {died}")
    return 1 if died or traffic.problems or p99 > LOST_GAP_S else 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(measure())
    if note := not_quiet():
        print(note)
    return asyncio.run(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
