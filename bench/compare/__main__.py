"""This checkout beside another one: ``python -m bench.compare --base FOLDER [PART OF A NAME ...]``.

Three nodes of each run at once on one machine, and get the same work in turns of a second or two, so that
whatever else the machine does hits both. What is compared is processor time per request or record, of all
nodes and of the client. With a second clone of one commit as the base, the table says what means nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import aiohttp
import uvloop

from bench.compare.cases import CASES, Case, fill
from bench.compare.checkout import Checkout, make_topic, started
from bench.compare.work import Target
from bench.machine import measure
from bench.paths import ROOT


class Turn(NamedTuple):
    """Microseconds of processor per request or record."""

    nodes_us: float
    client_us: float


async def turn(case: Case, target: Target, seconds: float) -> Turn:
    """One turn of one checkout."""
    before = target.checkout.used_s()
    done = await case.run(target, seconds)
    used_s = target.checkout.used_s() - before
    return Turn(used_s / done.count * 1e6, done.client_s / done.count * 1e6)


async def compare(case: Case, targets: list[Target], turns: int, seconds: float) -> None:
    """Warm both up, then take turns; prints a line for the nodes and one for the client, if it took part."""
    for target in targets:
        await turn(case, target, 0.7)
    taken: list[list[Turn]] = [[], []]
    for number in range(turns):
        for side in (0, 1) if number % 2 else (1, 0):
            taken[side].append(await turn(case, targets[side], seconds))
    base, ours = taken
    _print(case.name, [each.nodes_us for each in base], [each.nodes_us for each in ours])
    if base[0].client_us:
        _print(" of the client", [each.client_us for each in base], [each.client_us for each in ours])


def _print(name: str, base: list[float], ours: list[float]) -> None:
    # A turn that is too short for the kernel's clock shows nothing.
    ratios = sorted(mine / theirs if theirs else 1.0 for mine, theirs in zip(ours, base, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    middle = statistics.median(base)
    ratio = statistics.median(ours) / middle if middle else 1.0
    print(
        f"{name:44} {middle:10.1f} {statistics.median(ours):10.1f} {ratio:7.3f}"
        f"   {statistics.median(ratios):.3f} [{low:.3f} to {high:.3f}]",
        flush=True,
    )


async def run(base: Path, cases: list[Case], turns: int, seconds: float, first_port: int) -> None:
    """All cases."""
    print(measure())
    async with started(base, first_port) as theirs, started(ROOT, first_port + 100) as ours:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            print(f"{'processor, us':44} {'base':>10} {'here':>10}   ratio   of the turns, with quartiles")
            for number, case in enumerate(cases):
                topic = f"compare-{number}"
                targets = [await _target(session, side, topic) for side in (theirs, ours)]
                if case.is_read:
                    for target in targets:
                        await fill(target)
                await compare(case, targets, turns, seconds)
                for target in targets:
                    async with session.delete(f"{target.leader}/v1/topics/{topic}") as answer:
                        assert answer.status == 204, await answer.text()


async def _target(session: aiohttp.ClientSession, checkout: Checkout, topic: str) -> Target:
    return Target(checkout, session, topic, *await make_topic(session, checkout, topic))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases with one of these in their names")
    parser.add_argument("--base", type=Path, required=True, help="another checkout, after `make setup` there")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a turn")
    parser.add_argument("--first-port", type=int, default=26_000)
    given = parser.parse_args()
    cases = [case for case in CASES if not given.names or any(name in case.name for name in given.names)]
    uvloop.run(run(given.base.resolve(), cases, given.turns, given.seconds, given.first_port))


if __name__ == "__main__":
    main()
    sys.exit(0)
