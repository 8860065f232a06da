"""A rolling restart under load: ``python -m bench.rolling``, about a minute for each round.

Idempotent producers write to all partitions of a topic, and a consumer reads all of them, both with the
client's default retries, while every node is restarted in turn as ``floodmark cluster roll`` does it. Printed
for each restart: how long the node was stopping, how long until all was in sync, and the longest time in
which one of the partitions acknowledged nothing. Ends with 1 when a record is lost, doubled or out of order,
or a request fails.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.console import not_quiet, to_stderr
from bench.machine import measure, percentile
from bench.traffic import Traffic, add_options
from local.cluster import LocalCluster
from local.health import wait_healthy
from local.roll import Roll

GOAL_GAP_S: Final = 1.0
_STEADY_S: Final = 5.0
"""Load before the first restart, and after the last one."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """One restart, from the moment that the node was told to stop, on ``time.monotonic``."""

    node: str
    began: float
    ended: float
    """Its process had stopped."""
    synced: float = 0.0
    """All was in sync again."""


async def roll_timed(
    cluster: LocalCluster,
    *,
    names: Sequence[str] = (),
    before: Callable[[str], Awaitable[None]] | None = None,
    tell: Callable[[str], None] = to_stderr,
) -> list[Restarted]:
    """Restart the named nodes of a cluster once, or all. ``before`` is called ahead of each stop."""
    restarts: list[tuple[str, float, float]] = []

    async def restart(name: str) -> None:
        if before is not None:
            await before(name)
        began = time.monotonic()
        await cluster.stop(name)
        restarts.append((name, began, time.monotonic()))
        await cluster.start(name)

    urls = {name: cluster.nodes[name].url for name in names or cluster.nodes}
    await Roll(urls, restart, tell=tell).run(list(urls))
    # One restart begins as soon as all is in sync after the one before.
    synced = [began for _, began, _ in restarts[1:]] + [time.monotonic()]
    return [Restarted(*restart, at) for restart, at in zip(restarts, synced, strict=True)]


def table(restarts: list[Restarted], traffic: Traffic) -> str:
    """One line for each restart."""
    lines = [f"{'node':<6}{'stopped after':>15}{'all in sync after':>20}{'longest gap':>14}"]
    for each in restarts:
        gap = traffic.longest_gap_s(each.began, each.synced)
        lines.append(
            f"{each.node:<6}{each.ended - each.began:>13.2f} s{each.synced - each.began:>18.2f} s"
            f"{gap * 1000:>11.0f} ms"
        )
    return "\n".join(lines)


async def run(arguments: argparse.Namespace) -> int:
    """1 when a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="floodmark-rolling-") as folder:
        cluster = LocalCluster(Path(folder) / "cluster", arguments.nodes)
        urls = {name: node.url for name, node in cluster.nodes.items()}
        traffic = Traffic(
            list(urls.values()), arguments.partitions, arguments.producers, arguments.megabytes * 1e6
        )
        restarts: list[Restarted] = []
        try:
            await cluster.start()
            await cluster.ready()
            async with traffic.running():
                await wait_healthy(urls, timeout_s=60)
                began = time.monotonic()
                await asyncio.sleep(_STEADY_S)
                steady_gap_s = traffic.longest_gap_s(began, time.monotonic())
                for _ in range(arguments.rounds):
                    restarts += await roll_timed(cluster)
                await asyncio.sleep(_STEADY_S)
                ended = time.monotonic()
        finally:
            await cluster.kill(*cluster.children)
            cluster.close()
    print(table(restarts, traffic))
    gaps = [traffic.longest_gap_s(each.began, each.synced) for each in restarts]
    print(
        f"longest time without an acknowledgement in one partition: {max(gaps) * 1000:.0f} ms in a restart "
        f"(median of the restarts {percentile(gaps, 0.5) * 1000:.0f}; goal {GOAL_GAP_S * 1000:.0f}), "
        f"{steady_gap_s * 1000:.0f} ms before the first one"
    )
    print(traffic.told(ended - began))
    return 1 if traffic.failures or traffic.problems else 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int, default=3)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(measure())
    if note := not_quiet():
        print(note)
    return asyncio.run(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
