"""Runs many seeds on all cores, or one with its whole trace: ``scripts/simulate --help``."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from consensus.core.safeguards import Safeguard
from tests.simulation.broken import Rule
from tests.simulation.run import Result, simulate

BLOCK = 8
"""Seeds that a worker takes at a time."""


class _Without(NamedTuple):
    """What is switched off."""

    safeguards: frozenset[Safeguard]
    rules: frozenset[Rule]


def main() -> int:
    """Returns 1 when a promise was broken."""
    arguments = _parser().parse_args()
    without = _Without(
        frozenset(Safeguard[name] for name in arguments.disable if name in Safeguard.__members__),
        frozenset(Rule[name] for name in arguments.disable if name in Rule.__members__),
    )
    if arguments.seed is not None:
        return _replay(arguments.seed, without, whole=arguments.trace)
    return _many(arguments, without)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="start no more seeds after this long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--failures", type=int, default=10, help="stop after this many failing seeds")
    parser.add_argument("--seed", type=int, help="replay this one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event, not the last")
    parser.add_argument(
        "--disable",
        action="append",
        default=[],
        choices=[item.name for item in (*Safeguard, *Rule)],
        help="switch a safeguard or a rule of moves off, to see that the checks find what it is for",
    )
    return parser


def _replay(seed: int, without: _Without, *, whole: bool) -> int:
    lines: list[str] = []
    result = simulate(
        seed, disabled=without.safeguards, broken=without.rules, listener=lines if whole else None
    )
    if whole:
        print("\n".join(lines))
    print(result.failure or f"seed {seed}: every promise kept")
    print(
        f"profile {result.profile!r}, {result.virtual_s:.1f} virtual s in {result.cpu_s:.2f} CPU s, "
        f"{result.stored} stored, {result.faults} faults, {result.leaders} leaders, trace {result.digest}"
    )
    return 1 if result.failure else 0


def _block(seeds: range, without: _Without) -> list[Result]:
    return [simulate(seed, disabled=without.safeguards, broken=without.rules) for seed in seeds]


def _results(arguments: argparse.Namespace, without: _Without) -> Iterator[Result]:
    """Results as they come; never more blocks handed out than the workers need."""
    ends = time.monotonic() + arguments.seconds
    stop = arguments.first + arguments.seeds
    blocks = iter(range(arguments.first, stop, BLOCK))
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        running: set[concurrent.futures.Future[list[Result]]] = set()
        while True:
            while len(running) < 2 * arguments.jobs and time.monotonic() < ends:
                start = next(blocks, None)
                if start is None:
                    break
                running.add(pool.submit(_block, range(start, min(start + BLOCK, stop)), without))
            if not running:
                return
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield from future.result()


def _many(arguments: argparse.Namespace, without: _Without) -> int:
    began = time.monotonic()
    runs = stored = faults = 0
    virtual_s = 0.0
    failed: list[Result] = []
    for result in _results(arguments, without):
        runs += 1
        stored += result.stored
        faults += result.faults
        virtual_s += result.virtual_s
        if result.failure is not None:
            failed.append(result)
            print(f"FAILED seed {result.seed} ({result.profile}): {result.rule}", flush=True)
            if len(failed) >= arguments.failures:
                print(f"stopping after {len(failed)} failing seeds", flush=True)
                break
        if sys.stderr.isatty():
            print(f"\r{runs} of {arguments.seeds} seeds", end="", file=sys.stderr, flush=True)
    real_s = time.monotonic() - began
    print(
        f"\n{runs} seeds, {virtual_s / 3600:.2f} virtual hours in {real_s:.0f} s "
        f"({virtual_s / 60 / max(real_s, 0.001):.1f} virtual hours per real minute), "
        f"{stored} entries stored, {faults} faults, {len(failed)} failing seeds"
    )
    for rule, count in Counter(result.rule for result in failed).most_common():
        print(f"  {count} x {rule}")
    for result in sorted(failed, key=lambda result: result.seed)[:5]:
        print(f"\n{result.failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
