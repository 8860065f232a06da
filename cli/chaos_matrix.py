"""``floodmark chaos matrix`` and ``floodmark chaos seeds``: many runs, one table."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from chaos.matrix.cells import EXCLUDED, cells
from chaos.scenario.builtin import builtin_names, builtin_scenario
from chaos.scenario.random_timeline import random_scenario
from cli.chaos_batch import Batch
from cli.chaos_plan import secure_option, secured
from cli.chaos_row import FINE, Job
from cli.chaos_tools import toxiproxy
from cli.exits import ERROR, NOT_FOUND, OK, VIOLATED, Failure
from cli.output import View, field, output_option, show
from cli.session import debug_option, run, talk
from cli.units import DURATION_MS

_SEED_BITS = 32
_AROUND_S = 45.0
"""Usual time of a random run besides its timeline: no run is begun that would be cut off."""
_RUNS = View(
    columns=(
        field("Scenario"),
        field("Nodes", right=True, wide=True),
        field("Verdict"),
        field("Acknowledged", "records_acknowledged", right=True),
        field("Lost", "records_lost", right=True),
        field("Longest gap s", "longest_gap_s", right=True),
        field("Recovery s", "recovery_s", right=True),
        field("Seed", right=True),
        field("Report", "folder"),
        field("Seconds", right=True, wide=True),
        field("Machine busy", right=True, wide=True),
        field("Why", wide=True),
    ),
    name=lambda row: str(row["scenario"]),
    items=lambda document: document["runs"],
)
_CELLS = View(
    columns=(field("Name"), field("Expected"), field("Reason")),
    name=lambda cell: str(cell["name"]),
    items=lambda document: document["cells"],
)


def _shared(command: Any) -> Any:
    """The options of both commands."""
    at_once = click.option(
        "--jobs",
        type=click.IntRange(1),
        default=os.cpu_count() or 1,
        show_default="one for each core",
        help="Number of runs at the same time.",
    )
    keep = click.option(
        "--keep-all", is_flag=True, help="Keep everything of clean runs, not only the reports."
    )
    out = click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        show_default="a new folder in chaos-runs",
        metavar="DIR",
        help="Parent folder: each run gets a folder of its own in it.",
    )
    return at_once(secure_option(keep(out(output_option()(debug_option(command))))))


@click.command("matrix")
@click.option(
    "--only", "patterns", multiple=True, help="Only these, such as 'kill-*' or '*-on-all' (may be repeated)."
)
@click.option(
    "--list",
    "is_list",
    is_flag=True,
    help="List the cells, and those that make no sense, without running any.",
)
@click.option(
    "--seed", type=click.IntRange(0), help="Seed of the seeds of all runs.  [default: a random one]"
)
@click.option(
    "--seconds-max", type=click.FloatRange(1), default=3600.0, show_default=True, help="Then no more is run."
)
@_shared
def matrix(
    *,
    patterns: tuple[str, ...],
    is_list: bool,
    seed: int | None,
    seconds_max: float,
    jobs: int,
    secure: bool,
    keep_all: bool,
    out: Path | None,
    output: str | None,
) -> int:
    """Run every scenario of 'floodmark chaos list', and every fault on every target, briefly.

    Goes on after a failure and prints one table at the end. Exit code 0 if every run was made and is clean
    (or refused, where a majority lost its data); 6 if a promise was broken; 1 if a run is missing.
    """
    if is_list:
        return _list(output)
    seed = secrets.randbits(_SEED_BITS) if seed is None else seed
    chosen = [
        job
        for job in _jobs(seed, secure=secure)
        if not patterns or any(fnmatch(job.scenario.name, p) for p in patterns)
    ]
    if not chosen:
        raise Failure(f"no run matches {', '.join(patterns)}", exit_code=NOT_FOUND, hint="see --list")
    talk(f"{len(chosen)} runs, {jobs} at the same time, seed {seed}, for at most {seconds_max:g} s")
    return _run_all(chosen, jobs, seconds_max, _folder(out, "matrix", seed), output, keep_all=keep_all)


@click.command("seeds")
@click.option(
    "--first-seed", type=click.IntRange(0), help="First seed; the next ones follow.  [default: a random one]"
)
@click.option(
    "--count", type=click.IntRange(1), default=1_000_000, help="Number of runs.  [default: no limit]"
)
@click.option(
    "--nodes", type=click.IntRange(1, 9), multiple=True, default=(3, 5), show_default=True, help="In turn."
)
@click.option(
    "--duration",
    type=DURATION_MS,
    default="40s",
    show_default=True,
    help="How long to inject faults in each run.",
)
@click.option(
    "--seconds-max", type=click.FloatRange(1), default=3600.0, show_default=True, help="Then no more is run."
)
@_shared
def seeds(
    *,
    first_seed: int | None,
    count: int,
    nodes: Sequence[int],
    duration: int | str,
    seconds_max: float,
    jobs: int,
    secure: bool,
    keep_all: bool,
    out: Path | None,
    output: str | None,
) -> int:
    """Run random scenarios, one seed after the other, until the time is up.

    Exit code 0 if all are clean.
    """
    if isinstance(duration, str):
        raise click.UsageError("--duration: a run has to end")
    duration_s = duration / 1000
    first = secrets.randbits(_SEED_BITS) if first_seed is None else first_seed
    talk(f"random scenarios from seed {first} on, {jobs} at the same time, for at most {seconds_max:g} s")
    drawn = (
        Job(secured(random_scenario(seed, duration_s, size), secure), seed)
        for seed, size in zip(range(first, first + count), itertools.cycle(nodes), strict=False)
    )
    until = time.monotonic() + seconds_max - duration_s - _AROUND_S
    in_time = itertools.takewhile(lambda _: time.monotonic() < until, drawn)
    return _run_all(in_time, jobs, seconds_max, _folder(out, "seeds", first), output, keep_all=keep_all)


def _jobs(seed: int, *, secure: bool) -> Iterator[Job]:
    for name in builtin_names():
        yield Job(secured(builtin_scenario(name), secure), _seed_of(seed, name))
    for cell in cells():
        yield Job(
            secured(cell.scenario(), secure), _seed_of(seed, cell.name), cell.may_refuse, is_of_matrix=True
        )


def _seed_of(seed: int, name: str) -> int:
    """The seed of one run, which does not depend on the other runs."""
    return random.Random(f"{seed}/{name}").getrandbits(_SEED_BITS)


def _folder(out: Path | None, what: str, seed: int) -> Path:
    folder = out or Path("chaos-runs") / f"{what}-{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run_all(
    jobs: Any, at_once: int, seconds_max: float, out: Path, output: str | None, *, keep_all: bool
) -> int:
    toxiproxy()
    batch = Batch(out, seconds_max, keep_all=keep_all)
    try:
        run(_until_signal(batch, jobs, at_once))
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        batch.rows.sort(key=lambda row: row["verdict"] not in FINE)
        show({"runs": batch.rows}, _RUNS, output)
    verdicts = [row["verdict"] for row in batch.rows]
    talk(", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts)))
    if "violated" in verdicts:
        return VIOLATED
    return OK if set(verdicts) <= FINE else ERROR


async def _until_signal(batch: Batch, jobs: Any, at_once: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await batch.run(jobs, at_once)


def _list(output: str | None) -> int:
    listed = [
        {"name": cell.name, "expected": "clean or refused" if cell.may_refuse else "clean", "reason": ""}
        for cell in cells()
    ]
    listed += [
        {"name": f"{row}-on-{target.value}", "expected": "not run", "reason": reason}
        for (row, target), reason in EXCLUDED.items()
    ]
    show({"cells": listed}, _CELLS, output)
    return OK
