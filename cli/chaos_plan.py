"""Which scenario ``floodmark chaos run`` is to run, and in which folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from chaos.scenario.builtin import builtin_names, builtin_scenario, read_scenario
from chaos.scenario.errors import ScenarioInvalid
from chaos.scenario.model import Scenario
from chaos.scenario.random_timeline import random_scenario
from cli.exits import CONFLICT, NOT_FOUND, USAGE, Failure

_RANDOM_DURATION_MS = 60_000


def named_scenario(name: str, nodes: int | None) -> Scenario:
    """A scenario that comes with Floodmark, or the one in a file; ``nodes`` overrides its number of nodes."""
    try:
        scenario = builtin_scenario(name) if name in builtin_names() else read_scenario(Path(name))
    except FileNotFoundError as error:
        hint = f"there are {', '.join(builtin_names())}"
        raise Failure(f"{name!r} is neither a scenario nor a file", exit_code=NOT_FOUND, hint=hint) from error
    except ScenarioInvalid as error:
        listed = "".join(f"\n  {problem}" for problem in error.problems)
        raise Failure(f"{error.source} is not a valid scenario:{listed}", exit_code=USAGE) from error
    if nodes is None:
        return scenario
    missing = (
        {timed.fault.aim.node for timed in scenario.faults} - {""} - {f"n{n}" for n in range(1, nodes + 1)}
    )
    if missing:
        raise click.UsageError(
            f"the scenario aims at {', '.join(sorted(missing))}, which --nodes {nodes} does not include"
        )
    return dataclasses.replace(scenario, nodes=nodes, replication=min(nodes, scenario.replication))


def drawn_scenario(
    seed: int, duration: int | str | None, nodes: int, chosen_kinds: tuple[str, ...]
) -> Scenario:
    """A random scenario. Raises ``UsageError`` for an invalid duration or kind."""
    if isinstance(duration, str):
        raise click.UsageError("--duration: a run has to end")
    duration_ms = _RANDOM_DURATION_MS if duration is None else duration
    try:
        return random_scenario(seed, duration_ms / 1000, nodes, chosen_kinds or None)
    except ValueError as error:
        raise click.UsageError(f"--kind: {error}") from error


secure_option = click.option(
    "--secure", is_flag=True, help="With TLS on every link, and clients that have to say who they are."
)


def secured(scenario: Scenario, secure: bool) -> Scenario:  # noqa: FBT001 - an option, as it was given
    """The scenario, on a secure cluster if that is asked for."""
    return dataclasses.replace(scenario, secure=True) if secure else scenario


def new_folder(out: Path, name: str) -> Path:
    """The path of a new folder, because earlier runs are kept."""
    tries = (out / (name if number == 1 else f"{name}-{number}") for number in range(1, 10_000))
    folder = next((each for each in tries if not each.exists()), None)
    if folder is None:
        raise Failure(f"{out} has too many runs named {name}", exit_code=CONFLICT)
    return folder
