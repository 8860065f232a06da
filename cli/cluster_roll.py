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
    help="The folder of the cluster, as 'floodmark dev' was given it.",
)
@click.option("--afresh", is_flag=True, help="Restart all nodes, also after a roll that was interrupted.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up when the cluster is not healthy so long after a restart.",
)
@debug_option
def roll(*, data: Path, afresh: bool, wait_s: float) -> None:
    """Restart the nodes of a local cluster one by one; clients go on.

    The cluster has to be healthy: all nodes ready, all replicas of all partitions in sync. Else no node is
    stopped, and it ends with 5. Each node hands its leaderships over before it stops, and the next one has
    its turn when all is healthy again. The metadata's leader is the last. Nodes start with the Floodmark
    that is installed then, so this is the way to a newer one too.

    Interrupted, it leaves the node that has its turn to be started again, and the next call goes on with the
    others. For clusters that 'floodmark dev' does not run see docs/OPERATIONS.md.
    """
    run(_roll(data, afresh=afresh, wait_s=wait_s))


async def _roll(data: Path, *, afresh: bool, wait_s: float) -> None:
    async with ControlClient.connected(data) as keeper:
        try:
            await keeper.roll(afresh=afresh, wait_s=wait_s, tell=talk)
        except asyncio.CancelledError:
            talk("interrupted: 'floodmark cluster roll' goes on with the nodes that are left")
            raise
    talk("all nodes were restarted")
