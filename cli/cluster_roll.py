"""``floodmark cluster roll``: restart the nodes of a local cluster one after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cli.session import debug_option, run, talk
from local.control_client import ControlClient
from local.roll import WAIT_S


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("floodmark-data"),
    show_default=True,
    metavar="DIR",
    help="The cluster's folder, the same as for 'floodmark dev'.",
)
@click.option("--afresh", is_flag=True, help="Restart all nodes, even after a roll that was interrupted.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up if the cluster is not healthy this long after a restart.",
)
@debug_option
def roll(*, data: Path, afresh: bool, wait_s: float) -> None:
    """Restart the nodes of a local cluster one by one; clients go on.

    The cluster must be healthy: all nodes ready, all replicas of all partitions in sync. Otherwise no node
    is stopped, and the exit code is 5. Each node hands over its leaderships before it stops, and the next
    one follows when the cluster is healthy again; the metadata's leader is the last. Nodes start with the
    Floodmark that is installed then, so this is also how to upgrade.

    If interrupted, the current node is still started again, and the next call goes on with the others. For
    clusters that 'floodmark dev' does not run see docs/OPERATIONS.md.
    """
    run(_roll(data, afresh=afresh, wait_s=wait_s))


async def _roll(data: Path, *, afresh: bool, wait_s: float) -> None:
    async with ControlClient.connected(data) as keeper:
        try:
            await keeper.roll(afresh=afresh, wait_s=wait_s, tell=talk)
        except asyncio.CancelledError:
            talk("interrupted: run 'floodmark cluster roll' again to go on with the nodes that are left")
            raise
    talk("all nodes were restarted")
