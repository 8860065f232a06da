"""``floodmark dev``: a local cluster in one command, each node a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from cli import profile_store
from cli.dev_overview import print_overview
from cli.exits import Failure
from cli.flights_load import load_flights
from cli.session import debug_option, run, talk
from cli.terminal import own_terminal
from local.children import STOP_TIMEOUT_S, Child, first_to_end, start_child, stop_children
from local.folder import LocalFolder, LocalNode
from local.readiness import wait_ready

_PROFILE = "dev"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do once the nodes serve."""

    nodes: Sequence[LocalNode]
    flights: Path | None
    select_profile: bool


@click.command()
@click.option("-n", "--nodes", type=click.IntRange(1, 9), help="How many nodes.  [default: 3, or as before]")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("floodmark-data"),
    show_default=True,
    metavar="DIR",
    help="Where the nodes keep their data; found again at the next start.",
)
@click.option("--temp", is_flag=True, help="Keep the data in a temporary folder and remove it at the end.")
@click.option("--http-port", type=click.IntRange(1, 65_000), default=7070, show_default=True)
@click.option("--peer-port", type=click.IntRange(1, 65_000), default=7170, show_default=True)
@click.option(
    "--flights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Load this file of flights into topic 'flights' and read it back.",
)
@click.option("--profile/--no-profile", "select_profile", default=True, help="Select the profile 'dev'.")
@click.option(
    "--take-terminal", is_flag=True, help="Let Ctrl-C reach only this command, not who started it, as make."
)
@debug_option
def dev(
    *,
    nodes: int | None,
    data: Path,
    temp: bool,
    http_port: int,
    peer_port: int,
    flights: Path | None,
    select_profile: bool,
    take_terminal: bool,
) -> None:
    """Start a local cluster and stay until Ctrl-C.

    The nodes listen on loopback only, on the ports from --http-port on, or the next ones that are free.
    """
    with own_terminal() if take_terminal else contextlib.nullcontext(), _folder(data, temp=temp) as folder:
        count = folder.node_count(nodes)
        chosen = folder.write_settings(count, http_port=http_port, peer_port=peer_port)
        run(_run_cluster(_Plan(chosen, flights, select_profile), folder.path))


@contextlib.contextmanager
def _folder(data: Path, *, temp: bool) -> Iterator[LocalFolder]:
    with contextlib.ExitStack() as stack:
        if temp:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floodmark-")))
        yield stack.enter_context(contextlib.closing(LocalFolder(data)))


async def _run_cluster(plan: _Plan, path: Path) -> None:
    """From the first process to the last: returns after a signal, raises when anything goes wrong."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    children: list[Child] = []
    tasks: list[asyncio.Task[object]] = []
    try:
        talk(f"starting {len(plan.nodes)} nodes; data and logs in {path}")
        for node in plan.nodes:
            child = await start_child(node.name, config=node.config, log=node.log)
            children.append(child)  # one by one: each that runs must be stopped if the next one fails
        stopping: asyncio.Task[object] = asyncio.create_task(stop.wait())
        dying: asyncio.Task[object] = asyncio.create_task(first_to_end(children))
        serving: asyncio.Task[object] = asyncio.create_task(_serve(plan))
        tasks += [stopping, dying, serving]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            talk("stopping ...")
        elif dying.done():
            raise _death(children)
        else:
            serving.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for child in await stop_children(children):
            talk(f"warning: {child.name} did not stop within {STOP_TIMEOUT_S:.0f} s: killed; see {child.log}")
    talk("stopped")


def _death(children: Sequence[Child]) -> Failure:
    dead = next(child for child in children if child.process.returncode is not None)
    talk(f"the last lines of {dead.log}:\n{dead.last_lines()}")
    return Failure(f"node {dead.name} ended by itself, with exit code {dead.process.returncode}")


async def _serve(plan: _Plan) -> None:
    """All that happens while the nodes run."""
    with Console(stderr=True).status("waiting until all nodes are ready"):
        await wait_ready(plan.nodes)
    talk(f"ready: {'  '.join(f'{node.name} {node.url}' for node in plan.nodes)}")
    if plan.select_profile:
        _select_profile(plan.nodes[0].url)
    if plan.flights is not None:
        await load_flights(plan.nodes[0].url, plan.flights, nodes=len(plan.nodes))
    await print_overview(plan.nodes)
    talk("Ctrl-C stops the cluster")
    await asyncio.Event().wait()


def _select_profile(url: str) -> None:
    """From now on commands talk to this cluster. A file that can not be written is no reason to fail."""
    try:
        profiles = profile_store.load()
        before = profiles.current
        profiles.servers[_PROFILE], profiles.current = url, _PROFILE
        profile_store.save(profiles)
    except (OSError, Failure) as error:
        talk(f"warning: profile {_PROFILE!r} not selected: {error}; use --server {url}")
        return
    instead = f" (instead of {before!r})" if before not in (None, _PROFILE) else ""
    talk(f"profile {_PROFILE!r} selected{instead}: other floodmark commands talk to {url}")
