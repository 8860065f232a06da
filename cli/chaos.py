"""``floodmark chaos``: break a local cluster on purpose, and see whether it keeps its promises."""

from __future__ import annotations

import asyncio
import secrets
import signal
from pathlib import Path

import click

from chaos.report.write import write_report
from chaos.run import RunResult, judge, run_scenario
from chaos.run_record import HISTORY_FILE, RECORD_FILE
from chaos.scenario.builtin import builtin_names, builtin_scenario
from chaos.scenario.kinds import fields_of, kinds, summary_of
from chaos.scenario.model import Scenario
from cli.chaos_matrix import matrix, seeds
from cli.chaos_plan import drawn_scenario, named_scenario, new_folder, secure_option, secured
from cli.chaos_summary import RESULT, document, explain
from cli.chaos_tools import toxiproxy
from cli.chaos_view import watching
from cli.exits import NOT_FOUND, OK, VIOLATED, Failure
from cli.output import View, field, output_option, show
from cli.session import debug_option, run, talk
from cli.units import DURATION_MS

_SEED_BITS = 32
_SCENARIOS = View(
    columns=(
        field("Name"),
        field("Nodes", right=True),
        field("Seconds", "duration_s", right=True),
        field("Faults", right=True),
        field("Description"),
    ),
    name=lambda scenario: str(scenario["name"]),
    items=lambda listing: listing["scenarios"],
)
_KINDS = View(
    columns=(field("Kind"), field("Settings"), field("Summary")),
    name=lambda kind: str(kind["kind"]),
    items=lambda listing: listing["kinds"],
)
_TOOLS = View(
    columns=(field("Name"), field("Path")),
    name=lambda tool: str(tool["path"]),
    items=lambda document: document["tools"],
)


@click.group()
def chaos() -> None:
    """Break a cluster on purpose and check that it keeps its promises.

    Each run starts its own local cluster behind real network proxies (Toxiproxy), writes and reads all the
    time, injects faults, heals them, and checks every promise against the nodes' disks.
    """


@chaos.command("list")
@output_option()
@debug_option
def list_(*, output: str | None) -> None:
    """List the scenarios that come with Floodmark."""
    scenarios = [builtin_scenario(name) for name in builtin_names()]
    members = [
        {
            "name": scenario.name,
            "nodes": scenario.nodes,
            "duration_s": scenario.duration_s,
            "faults": [timed.name for timed in scenario.faults],
            "description": scenario.description,
        }
        for scenario in scenarios
    ]
    show({"scenarios": members}, _SCENARIOS, output)


@chaos.command("kinds")
@output_option()
@debug_option
def kinds_(*, output: str | None) -> None:
    """List the kinds of faults that a scenario can use, with their settings."""
    members = [
        {"kind": kind, "settings": list(fields_of(cls)), "summary": summary_of(cls)}
        for kind, cls in kinds().items()
    ]
    show({"kinds": members}, _KINDS, output)


@chaos.command("run")
@click.argument("scenario", required=False, metavar="[SCENARIO|FILE]")
@click.option("--random", "is_random", is_flag=True, help="Draw the faults from the seed.")
@click.option(
    "--kind", "chosen_kinds", multiple=True, help="With --random: only faults of this kind (may be repeated)."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Seed of everything random.  [default: the file's, or a random one]",
)
@click.option(
    "--duration", type=DURATION_MS, help="With --random: how long to inject faults.  [default: 60s]"
)
@click.option("--nodes", type=click.IntRange(1, 9), help="Number of nodes.  [default: the scenario's, or 3]")
@secure_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("chaos-runs"),
    show_default=True,
    metavar="DIR",
    help="Parent folder: each run gets a folder of its own in it.",
)
@output_option()
@debug_option
def run_(
    *,
    scenario: str | None,
    is_random: bool,
    chosen_kinds: tuple[str, ...],
    seed: int | None,
    duration: int | str | None,
    nodes: int | None,
    secure: bool,
    out: Path,
    output: str | None,
) -> int:
    """Run a scenario (see 'floodmark chaos list'), the one in FILE, or a random one.

    The folder of the run holds the scenario, the history, the nodes' logs and data, and the report.
    Exit code 0 if every promise was kept and every node came back, else 6.
    """
    if (scenario is None) is not is_random:
        raise click.UsageError("give the name of a scenario, a file, or --random")
    if not is_random and (duration is not None or chosen_kinds):
        raise click.UsageError("--duration and --kind need --random: a scenario has its own times and faults")
    if is_random:
        seed = secrets.randbits(_SEED_BITS) if seed is None else seed
        chosen = drawn_scenario(seed, duration, nodes or 3, chosen_kinds)
    else:
        chosen = named_scenario(str(scenario), nodes)
        seed = next(each for each in (seed, chosen.seed, secrets.randbits(_SEED_BITS)) if each is not None)
    chosen = secured(chosen, secure)
    folder = new_folder(out, f"{chosen.name}-{seed}")
    talk(
        f"scenario {chosen.name}, {chosen.nodes} nodes, {chosen.duration_s:g} s, seed {seed}; folder {folder}"
    )
    toxiproxy()
    try:
        return _conclude(run(_run(chosen, folder, seed)), output)
    except asyncio.CancelledError:
        raise click.Abort from None  # SIGTERM; asyncio turns SIGINT into KeyboardInterrupt by itself


@chaos.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@output_option()
@debug_option
def check(*, folder: Path, output: str | None) -> int:
    """Judge the run in DIR again, from its history and the nodes' folders, and rewrite its report."""
    if not (folder / RECORD_FILE).exists():
        raise Failure(f"{folder} does not hold a run that has ended", exit_code=NOT_FOUND)
    return _conclude(judge(folder), output)


@chaos.command("setup")
@output_option()
@debug_option
def setup(*, output: str | None) -> None:
    """Download and build what runs need besides Floodmark, and say where it is.

    That is Toxiproxy's server, built once with Go; Go is downloaded if it is not installed. The first run
    does the same by itself.
    """
    show({"tools": [{"name": "toxiproxy-server", "path": str(toxiproxy())}]}, _TOOLS, output)


chaos.add_command(matrix)
chaos.add_command(seeds)


async def _run(scenario: Scenario, folder: Path, seed: int) -> RunResult:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with watching(scenario) as status:
            return await run_scenario(scenario, folder, seed, status=status)
    except ExceptionGroup as group:
        raise _first_of(group) from group
    except asyncio.CancelledError:
        talk(f"stopped; the unfinished run is in {folder}")
        raise


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first error in the tasks of a run; the others ended because of it."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first


def _conclude(result: RunResult, output: str | None) -> int:
    write_report(result)
    explain(result)
    talk(f"report: {result.folder / 'report.html'}, report.json; history: {result.folder / HISTORY_FILE}")
    show(document(result), RESULT, output)
    return OK if result.is_clean else VIOLATED
