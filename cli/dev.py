"""``floodmark dev``: a local cluster in one command, each node a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from floodmark.errors import FloodmarkError
from rich.console import Console

from cli import profile_store
from cli.dev_overview import curl_options, kill_lines, print_overview
from cli.exits import Failure
from cli.flights_load import load_flights
from cli.profile_store import NO_FILES, Profiles, TlsFiles, TokenSource
from cli.session import Target, debug_option, run, talk
from cli.terminal import own_terminal
from local.access import ANYBODY, Access
from local.administrator import take_token
from local.children import STOP_TIMEOUT_S
from local.control import Control
from local.folder import LocalFolder, LocalNode
from local.keeper import Keeper
from local.restarts import Restarts

_PROFILE = "dev"
_ANSWER_S = 2.0
"""How long to wait for an answer from the cluster that the profile names."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do once the nodes serve."""

    nodes: Sequence[LocalNode]
    restarts: Restarts
    flights: Path | None
    select_profile: bool
    access: Access = ANYBODY

    def target(self, number: int = 0) -> Target:
        """A node, as an administrator asks it."""
        ca = str(self.access.ca) if self.access.ca else ""
        return Target(self.nodes[number].url, self.access.token_file, TlsFiles(ca_file=ca))


@click.command()
@click.option("-n", "--nodes", type=click.IntRange(1, 9), help="Number of nodes.  [default: 3, or as before]")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("floodmark-data"),
    show_default=True,
    metavar="DIR",
    help="Folder of the nodes' data, which is kept for the next start.",
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
@click.option(
    "--restart-after",
    "restart_after_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Pause before a node that ended by itself is started again.",
)
@click.option("--no-restart", is_flag=True, help="Do not restart nodes that ended by themselves.")
@click.option(
    "--secure",
    is_flag=True,
    help="TLS everywhere, and nobody does anything without a token. The data folder stays so.",
)
@click.option("--profile/--no-profile", "select_profile", default=True, help="Select the profile 'dev'.")
@click.option(
    "--take-terminal",
    is_flag=True,
    help="Let Ctrl-C reach only this command, not the process that started it, such as make.",
)
@debug_option
def dev(
    *,
    nodes: int | None,
    data: Path,
    temp: bool,
    http_port: int,
    peer_port: int,
    restart_after_s: float,
    no_restart: bool,
    secure: bool,
    flights: Path | None,
    select_profile: bool,
    take_terminal: bool,
) -> None:
    """Start a local cluster and stay until Ctrl-C.

    The nodes listen on loopback only, on the ports from --http-port on, or the next free ones.

    With --secure there is a CA in the data folder, nodes speak TLS to each other and to users, and every
    request needs a token. The profile that is selected has an administrator's, so that other commands work.

    Kill one and watch: the others go on, and after --restart-after it is started again. Each time it ends
    before it is ready this pause doubles, up to a minute; after five times in a row it is not restarted any
    more. A node that ends before all have been ready once ends the command.
    """
    restarts = Restarts(None if no_restart else restart_after_s)
    with own_terminal() if take_terminal else contextlib.nullcontext(), _folder(data, temp=temp) as folder:
        count = folder.node_count(nodes)
        if secure:
            folder.make_secure()
        chosen = folder.write_settings(count, http_port=http_port, peer_port=peer_port)
        run(_run_cluster(_Plan(chosen, restarts, flights, select_profile, folder.access), folder.path))


@contextlib.contextmanager
def _folder(data: Path, *, temp: bool) -> Iterator[LocalFolder]:
    with contextlib.ExitStack() as stack:
        if temp:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floodmark-")))
        yield stack.enter_context(contextlib.closing(LocalFolder(data)))


async def _run_cluster(plan: _Plan, path: Path) -> None:
    """Run the cluster from start to stop: returns after a signal, raises if anything goes wrong."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    keeper = Keeper(plan.nodes, plan.restarts, tell=talk, by_hand=_start_command())
    tasks: list[asyncio.Task[object]] = []
    try:
        talk(f"starting {len(plan.nodes)} nodes; data and logs in {path}")
        await keeper.start()
        serving = _serve(plan, keeper, path)
        tasks += [asyncio.create_task(work) for work in (stop.wait(), keeper.keep(), serving)]
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            talk("stopping ...")
        else:
            await ended.pop()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for child in await keeper.stop():
            talk(f"warning: {child.name} did not stop within {STOP_TIMEOUT_S:.0f} s: killed; see {child.log}")
    talk("stopped")


async def _serve(plan: _Plan, keeper: Keeper, path: Path) -> None:
    """Everything while the nodes run."""
    with Console(stderr=True).status("waiting until all nodes are ready"):
        await keeper.wait_ready()
    pids = keeper.pids
    talk(f"ready: {'  '.join(f'{node.name} {node.url} (pid {pids[node.name]})' for node in plan.nodes)}")
    if plan.access.token_file is not None:
        await take_token(plan.nodes, plan.access, path)
        talk(f"secure: CA {plan.access.ca}, administrator's token in {plan.access.token_file}")
    if plan.select_profile:
        await _select_profile(plan)
    if plan.flights is not None:
        await load_flights(plan.target(), [node.url for node in plan.nodes], plan.flights)
    try:
        await print_overview(plan.nodes, plan.target(), curl_options(plan.access))
    except FloodmarkError as error:  # Nodes may come and go from now on.
        talk(f"no overview: {error.detail}")
    click.echo(kill_lines(plan.nodes, keeper.pids, plan.restarts))
    async with Control(path, keeper, {node.name: node.url for node in plan.nodes}, plan.access).serving():
        talk("Ctrl-C stops the cluster")
        await asyncio.Event().wait()


async def _is_of_another(known: Target, nodes: Sequence[LocalNode]) -> bool:
    """Whether a node answers there that is not one of ``nodes``."""
    if known.url in [node.url for node in nodes]:
        return False
    try:
        async with known.client(timeout_s=_ANSWER_S) as client:
            advertised = {node.http for node in await client.nodes()}
    except FloodmarkError:
        return False
    return not advertised & {node.url for node in nodes}


def _start_command() -> str:
    """The command that starts a node by hand in this installation."""
    called = Path(sys.argv[0])
    ours = [sys.argv[0]] if called.name == "floodmark" else [sys.executable, "-P", "-m", "cli.main"]
    return shlex.join([*ours, "start"])


async def _select_profile(plan: _Plan) -> None:
    """Make commands talk to this cluster, unless the profile belongs to another one that runs.

    A profiles file that cannot be written only causes a warning."""
    target = plan.target()
    url = target.url
    try:
        profiles = profile_store.load()
        before = profiles.current
        known = profiles.servers.get(_PROFILE)
        if known is not None and await _is_of_another(_kept(profiles, known), plan.nodes):
            talk(
                f"profile {_PROFILE!r} still names the cluster at {known}, which is running; "
                f"for this one use --server {url}, or floodmark profile create NAME {url}"
            )
            return
        profiles.servers[_PROFILE], profiles.current = url, _PROFILE
        token_file = plan.access.token_file
        profiles.sources[_PROFILE] = TokenSource(str(token_file) if token_file else "")
        profiles.tls[_PROFILE] = target.files
        profile_store.save(profiles)
    except (OSError, Failure) as error:
        talk(f"warning: profile {_PROFILE!r} not selected: {error}; use --server {url}")
        return
    instead = f" (instead of {before!r})" if before not in (None, _PROFILE) else ""
    talk(f"profile {_PROFILE!r} selected{instead}: other floodmark commands talk to {url}")


def _kept(profiles: Profiles, url: str) -> Target:
    return Target(url, profiles.token(_PROFILE), profiles.tls.get(_PROFILE, NO_FILES))
