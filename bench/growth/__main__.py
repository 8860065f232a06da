"""``python -m bench.growth``: measure, and write tables, JSON and plot."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import plotting
from bench.console import names_in, not_quiet, to_stderr
from bench.growth import document, scaling, table
from bench.growth.figures import Results, save
from bench.growth.rounds import Rounds
from bench.growth.scale import FULL, QUICK
from bench.growth.titles import TITLES
from bench.machine import Machine, measure
from bench.paths import RESULTS

_NAMES = [title.name for title in TITLES]


def main() -> int:
    """Run as the arguments say; 1 when nothing could be measured."""
    arguments = _arguments()
    chosen = names_in(arguments.only)
    if unknown := sorted(set(chosen) - set(_NAMES)):
        to_stderr(f"there is no axis {', '.join(unknown)}; there are {', '.join(_NAMES)}")
        return 2
    axes = [name for name in _NAMES if name in (chosen or _NAMES)]
    scale = QUICK if arguments.quick else FULL
    scale = replace(
        scale, rounds=arguments.rounds or scale.rounds, minutes_max=arguments.minutes or scale.minutes_max
    )
    busy = not_quiet()
    machine = measure()
    print(machine, flush=True)
    rounds = Rounds(scale, to_stderr)
    if busy is not None:
        rounds.note(busy)
    begin = time.monotonic()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_told(rounds, axes))
    minutes = (time.monotonic() - begin) / 60
    took = f"{scale.rounds} rounds, {scale.seconds:g} s a measurement, {minutes:.0f} minutes"
    found = _results(rounds, axes, machine, took)
    if not found.figures and not found.gauges:
        return 1
    _write(found, arguments.out)
    if arguments.document:
        document.update(found, arguments.out / "growth.png")
    return 0


async def _until_told(rounds: Rounds, axes: Sequence[str]) -> None:
    """SIGTERM is taken as an interrupt: what was started is ended, and its data removed."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await rounds.run(axes)


def _results(rounds: Rounds, axes: Sequence[str], machine: Machine, took: str) -> Results:
    measured = {each.axis for each in rounds.figures} | {each.axis for each in rounds.gauges}
    return Results(
        date=time.strftime("%Y-%m-%d"),
        machine=str(machine).removeprefix("machine: "),
        scale=took,
        axes=[axis for axis in axes if axis in measured],
        notes=rounds.notes,
        figures=rounds.figures,
        gauges=rounds.gauges,
    )


def _write(found: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data, text, picture = (folder / f"growth.{suffix}" for suffix in ("json", "md", "png"))
    save(found, data)
    text.write_text(f"{table.markdown(found)}\n## Past one machine\n\n{scaling.markdown(found)}\n")
    print(text.read_text())
    plotting.draw("bench.growth.plot", data, picture)
    to_stderr(f"written to {folder}: {data.name}, {text.name}, {picture.name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round over fewer places: three minutes"
    )
    parser.add_argument("--only", default="", metavar="AXES", help=f"some of {', '.join(_NAMES)}")
    parser.add_argument(
        "--rounds", type=int, default=0, help="how many rounds; by default 3, or 1 with --quick"
    )
    parser.add_argument("--minutes", type=float, default=0, help="end after so many minutes; by default 20")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON, tables and plot")
    parser.add_argument(
        "--document", action="store_true", help="put tables and plot into docs/PERFORMANCE.md too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
