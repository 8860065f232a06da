"""``python -m bench.group_consumers``: install what is needed, measure, print the table."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from bench.console import not_quiet, to_stderr
from bench.document import write_parts
from bench.group_consumers import table
from bench.group_consumers.figures import Figure, line
from bench.group_consumers.session import GroupSession
from bench.group_consumers.variants import VARIANTS, select
from bench.group_consumers.work import Scale
from bench.machine import measure
from bench.peers.document import compared
from bench.peers.rounds import Rounds
from bench.peers.servers.base import Servers
from bench.peers.systems import servers_of
from bench.peers.tools import Tools


def main() -> int:
    """Run as the arguments say; 1 when nothing could be measured."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    scale = Scale(
        records=arguments.records,
        members=arguments.members,
        kills=arguments.kills,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    try:
        chosen = select([name for name in arguments.only.split(",") if name])
    except ValueError as error:
        to_stderr(str(error))
        return 2
    tools = Tools()
    tools.install({variant.system for variant in chosen})
    missing = {each.name: servers_of(each).missing(tools) for each in chosen}
    machine = str(measure(tools.folder))
    to_stderr(machine)
    begin = time.monotonic()

    def begin_session(servers: Servers, number: int) -> GroupSession:
        return GroupSession(servers, scale, number)

    rounds: Rounds[Figure] = Rounds(tools, begin_session, line=line, tell=to_stderr)
    if (note := not_quiet()) is not None:
        rounds.note(note)
    for each in chosen:
        if missing[each.name] is not None:
            rounds.note(f"{each.label} is absent: {missing[each.name]}")
    present = [each for each in chosen if missing[each.name] is None]
    if present:
        rounds.run(present, rounds=scale.rounds, minutes_max=scale.minutes_max)
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
