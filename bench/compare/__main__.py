"""Compares this checkout with another one: ``python -m bench.compare --base FOLDER [PART OF A NAME ...]``.

Three nodes of each run at once on one machine, and three more of the other one. All get the same work in
turns of a second or two, so that other load on the machine affects all equally. The comparison is of
processor time per request or record, of all nodes and of the client. The difference between the two clusters
of the other checkout is noise: worse means above 5 percent and above that noise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import aiohttp
import uvloop

from bench.compare.cases import CASES, Case, fill
from bench.compare.checkout import Checkout, make_topic, started
from bench.compare.verdict import HEAD, Verdict
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


async def compare(case: Case, targets: list[Target], turns: int, seconds: float) -> list[Verdict]:
    """Warm all up, then take turns. One verdict for the nodes and one for the client, if it took part."""
    for target in targets:
        await turn(case, target, 0.7)
    taken: list[list[Turn]] = [[] for _ in targets]
    for number in range(turns):
        # Each side is first, in the middle and last equally often, and follows each of the others.
        order = [(number + place) % len(targets) for place in range(len(targets))]
        for side in order if number // len(targets) % 2 else reversed(order):
            taken[side].append(await turn(case, targets[side], seconds))
    verdicts = [Verdict.of(case.name, *([each.nodes_us for each in side] for side in taken))]
    if taken[0][0].client_us:
        verdicts.append(Verdict.of(" of the client", *([each.client_us for each in side] for side in taken)))
    for verdict in verdicts:
        print(verdict.line(), flush=True)
    return verdicts


async def run(base: Path, cases: list[Case], turns: int, seconds: float, first_port: int) -> list[Verdict]:
    """All cases."""
    print(measure())
    verdicts: list[Verdict] = []
    async with (
        started(base, first_port) as theirs,
        started(ROOT, first_port + 100) as ours,
        started(base, first_port + 200) as again,
    ):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            print(HEAD)
            for number, case in enumerate(cases):
                topic = f"compare-{number}"
                targets = [await _target(session, side, topic) for side in (theirs, ours, again)]
                if case.is_read:
                    for target in targets:
                        await fill(target)
                verdicts += await compare(case, targets, turns, seconds)
                for target in targets:
                    async with session.delete(f"{target.leader}/v1/topics/{topic}") as answer:
                        assert answer.status == 204, await answer.text()
    return verdicts


async def _target(session: aiohttp.ClientSession, checkout: Checkout, topic: str) -> Target:
    return Target(checkout, session, topic, *await make_topic(session, checkout, topic))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases with one of these in their names")
    parser.add_argument("--base", type=Path, required=True, help="another checkout, after `make setup` there")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a turn")
    parser.add_argument("--first-port", type=int, default=26_000)
    given = parser.parse_args()
    cases = [case for case in CASES if not given.names or any(name in case.name for name in given.names)]
    verdicts = uvloop.run(run(given.base.resolve(), cases, given.turns, given.seconds, given.first_port))
    worse = [verdict.name for verdict in verdicts if verdict.is_worse]
    print(f"{len(worse)} of {len(verdicts)} worse: {', '.join(worse)}" if worse else "nothing is worse")


if __name__ == "__main__":
    main()
    sys.exit(0)
