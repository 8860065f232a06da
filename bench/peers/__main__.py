"""``python -m bench.peers``: install what is needed, measure, and write table, JSON and plot."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import plotting
from bench.console import names_in, not_quiet, to_stderr
from bench.machine import measure
from bench.paths import RESULTS
from bench.peers import document, results, systems, table
from bench.peers.rounds import Rounds
from bench.peers.servers.base import Servers
from bench.peers.session import Session
from bench.peers.syncs import report_syncs
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.peers.work import FULL, QUICK
from bench.processes import exit_on_sigterm


def main() -> int:
    """Run as the arguments say; 1 when nothing could be measured."""
    arguments = _arguments()
    exit_on_sigterm()
    try:
        chosen = systems.select(names_in(arguments.only))
    except ValueError as error:
        to_stderr(str(error))
        return 2
    scale = QUICK if arguments.quick else FULL
    scale = replace(
        scale, rounds=arguments.rounds or scale.rounds, minutes_max=arguments.minutes or scale.minutes_max
    )
    tools = Tools()
    tools.install({variant.system for variant in chosen})
    absent = systems.absent(chosen, tools)
    present = [each for each in chosen if each.name not in absent]
    if arguments.syncs:
        return report_syncs(present, tools)
    machine = str(measure(tools.folder))
    to_stderr(machine)
    rates: dict[str, int] = {}

    rounds = Rounds(tools, line=results.line, tell=to_stderr)

    def measured(servers: Servers, number: int) -> Iterator[results.Figure]:
        return Session(servers, scale, number, rates, rounds.note).run()

    if (note := not_quiet()) is not None:
        rounds.note(note)
    begin = time.monotonic()
    if present:
        rounds.run(present, measured, rounds=scale.rounds, minutes_max=scale.minutes_max)
    minutes = (time.monotonic() - begin) / 60
    took = f"{scale.rounds} rounds, {scale.seconds:.0f} s a measurement, {minutes:.0f} minutes"
    found = _results(rounds, chosen, absent, machine, took, tools)
    _write(found, arguments.out)
    if arguments.document:
        document.update(systems.VARIANTS, table.markdown(found), arguments.out / "peers.png")
    return 0 if rounds.figures else 1


def _results(
    rounds: Rounds[results.Figure],
    chosen: list[Variant],
    absent: dict[str, str],
    machine: str,
    took: str,
    tools: Tools,
) -> results.Results:
    return results.Results(
        date=time.strftime("%Y-%m-%d"),
        machine=machine.removeprefix("machine: "),
        scale=took,
        versions=tools.all_versions(),
        labels={variant.name: variant.label for variant in chosen},
        synced=[variant.name for variant in chosen if variant.is_synced],
        absent=absent,
        notes=rounds.notes,
        figures=rounds.figures,
    )


def _write(found: results.Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data, text, picture = (folder / f"peers.{suffix}" for suffix in ("json", "md", "png"))
    results.save(found, data)
    text.write_text(table.markdown(found))
    print(text.read_text())
    if found.figures:
        plotting.draw("bench.peers.plot", data, picture)
    to_stderr(
        f"written to {folder}: {data.name}, {text.name}" + (f", {picture.name}" if found.figures else "")
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round, 1 KiB only: about four minutes"
    )
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="systems or variants, as nats,redis-always"
    )
    parser.add_argument(
        "--rounds", type=int, default=0, help="how many rounds; by default 3, or 1 with --quick"
    )
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing new after so many minutes")
    parser.add_argument(
        "--syncs", action="store_true", help="count with strace how often each system syncs, only"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON, table and plot")
    parser.add_argument(
        "--document", action="store_true", help="put table and plot into docs/PERFORMANCE.md too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
