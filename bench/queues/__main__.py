"""``python -m bench.queues``: receive and acknowledge beside NATS JetStream and Redis Streams, fsync on.

Three nodes of each system, started anew for each round, in another order each time. Records of 100 bytes are
written first and worked off then: one at a time and in batches, by 1, 16 and 64 workers; a turn counts when
its acknowledgement is confirmed. Floodmark does so with and without order by key, which the others do not
have. Then a million records with a delay: written, kept, delivered when they are due.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from bench.console import names_in, not_quiet, to_stderr
from bench.document import write_parts
from bench.machine import measure
from bench.paths import RESULTS
from bench.peers import systems
from bench.peers.rounds import Rounds
from bench.peers.servers.base import Servers
from bench.peers.tools import Tools
from bench.processes import exit_on_sigterm
from bench.queues import table
from bench.queues.figures import Figure, line
from bench.queues.session import QueueSession
from bench.queues.work import FULL, QUICK, Scale

VARIANTS: Final = ("floodmark", "nats-always", "redis-always")


def main() -> int:
    """Run as the arguments say; 1 when nothing could be measured."""
    arguments = _arguments()
    exit_on_sigterm()
    names = names_in(arguments.only) or list(VARIANTS)
    if unknown := set(names) - set(VARIANTS):
        to_stderr(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
        return 2
    chosen = systems.select(names)
    tools = Tools()
    tools.install({variant.system for variant in chosen})
    scale = _scale(arguments)
    machine = str(measure(tools.folder))
    to_stderr(machine)
    rounds = Rounds(tools, line=line, tell=to_stderr)

    def rows(servers: Servers, number: int) -> Iterator[Figure]:
        return QueueSession(servers, scale, number, rounds.note).rows()

    def delayed(servers: Servers, number: int) -> Iterator[Figure]:
        return QueueSession(servers, scale, number, rounds.note).delayed()

    if (note := not_quiet()) is not None:
        rounds.note(note)
    begin = time.monotonic()
    absent = systems.absent(chosen, tools)
    for name, why in absent.items():
        rounds.note(f"{name} is absent: {why}")
    present = [each for each in chosen if each.name not in absent]
    if present:
        rounds.run(present, rows, rounds=scale.rounds)
    ours = [variant for variant in present if variant.system == "floodmark"]
    if ours and scale.delayed:
        rounds.run(ours[:1], delayed, rounds=1)
    minutes = (time.monotonic() - begin) / 60
    took = f"{scale.rounds} rounds, {scale.seconds:g} s a measurement, {minutes:.0f} minutes"
    text = "\n\n".join(
        [
            f"{time.strftime('%Y-%m-%d')}; {machine}. {took}. Medians, with the lowest and highest round. "
            + "; ".join(f"{name} {version}" for name, version in tools.all_versions().items())
            + ".",
            table.markdown(rounds.figures, {each.name: each.label for each in chosen}, scale.delayed),
            *(["Notes: " + "; ".join(rounds.notes) + "."] if rounds.notes else []),
        ]
    )
    _write(arguments.out, text, rounds)
    if arguments.document:
        write_parts({"queues": text})
    return 0 if rounds.figures else 1


def _scale(arguments: argparse.Namespace) -> Scale:
    scale = QUICK if arguments.quick else FULL
    rounds = scale.rounds if arguments.rounds is None else arguments.rounds
    delayed = scale.delayed if arguments.delayed is None else arguments.delayed
    return replace(scale, rounds=rounds, delayed=delayed)


def _write(folder: Path, text: str, rounds: Rounds[Figure]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figures = [asdict(figure) for figure in rounds.figures]
    (folder / "queues.json").write_text(json.dumps({"figures": figures, "notes": rounds.notes}, indent=1))
    (folder / "queues.md").write_text(text + "\n")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.queues", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"some of {', '.join(VARIANTS)}")
    parser.add_argument("--rounds", type=int, help="how many rounds; by default 3; 0: delayed records only")
    parser.add_argument("--delayed", type=int, help="how many delayed records; by default 1,000,000; 0: none")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and table")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/PERFORMANCE.md too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
