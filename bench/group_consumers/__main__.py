"""``python -m bench.group_consumers``: install what is needed, measure, print the table."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from bench.console import names_in, not_quiet, to_stderr
from bench.document import write_parts
from bench.group_consumers import table
from bench.group_consumers.figures import Figure, line
from bench.group_consumers.session import GroupSession
from bench.group_consumers.variants import VARIANTS, select
from bench.group_consumers.work import Scale
from bench.machine import measure
from bench.peers import systems
from bench.peers.document import compared
from bench.peers.rounds import Rounds
from bench.peers.servers.base import Servers
from bench.peers.tools import Tools
from bench.processes import exit_on_sigterm


def main() -> int:
    """Run as the arguments say; 1 when nothing could be measured."""
    arguments = _arguments()
    exit_on_sigterm()
    scale = Scale(
        records=arguments.records,
        members=arguments.members,
        kills=arguments.kills,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    try:
        chosen = select(names_in(arguments.only))
    except ValueError as error:
        to_stderr(str(error))
        return 2
    tools = Tools()
    tools.install({variant.system for variant in chosen})
    absent = systems.absent(chosen, tools)
    machine = str(measure(tools.folder))
    to_stderr(machine)
    begin = time.monotonic()

    rounds = Rounds(tools, line=line, tell=to_stderr)

    def measured(servers: Servers, number: int) -> Iterator[Figure]:
        return GroupSession(servers, scale, number, rounds.note).run()

    if (note := not_quiet()) is not None:
        rounds.note(note)
    for each in chosen:
        if each.name in absent:
            rounds.note(f"{each.label} is absent: {absent[each.name]}")
    present = [each for each in chosen if each.name not in absent]
    if present:
        rounds.run(present, measured, rounds=scale.rounds, minutes_max=scale.minutes_max)
    minutes = (time.monotonic() - begin) / 60
    found = table.markdown(
        rounds.figures,
        chosen,
        members=scale.members,
        machine=f"{machine}; {time.strftime('%Y-%m-%d')}, {scale.rounds} rounds, {minutes:.0f} minutes; "
        + "; ".join(f"{name} {text}" for name, text in tools.versions.items()),
        notes=rounds.notes,
    )
    print(found)
    if arguments.document:
        write_parts({"group-consumers-compared": compared(VARIANTS), "group-consumers": found})
    return 0 if rounds.figures else 1


def _arguments() -> argparse.Namespace:
    default = Scale()
    parser = argparse.ArgumentParser(prog="python -m bench.group_consumers", description=__doc__)
    parser.add_argument("--records", type=int, default=default.records, help="to be read, of 100 bytes")
    parser.add_argument("--members", type=int, default=default.members, help="that join at once")
    parser.add_argument("--kills", type=int, default=default.kills, help="of a coordinator, in each round")
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--seconds", type=float, default=default.seconds, help="bound of each measurement")
    parser.add_argument("--only", default="", metavar="NAMES", help="systems, as floodmark,kafka")
    parser.add_argument("--document", action="store_true", help="put the table into docs/PERFORMANCE.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
