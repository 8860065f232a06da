"""``floodmark node``: the members of the cluster."""

from __future__ import annotations

from urllib.parse import quote

import click

from cli import drains, retiring
from cli.api import Api, Document
from cli.node_view import NODES
from cli.output import output_option, show
from cli.session import Session, cluster_options, run, talk


@click.group()
def node() -> None:
    """Show the nodes of the cluster, drain one, remove or replace one, or forget one."""


@node.command("list")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, output: str | None) -> None:
    """List all nodes, as each reports itself: state, leaders, replicas, disk, version, rack.

    The list is the same at every node. A node that does not answer is shown with what is known about it.
    """

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get("/v1/nodes")

    show(run(ask()), NODES, output)


@node.command("forget")
@click.argument("name", metavar="NODE")
@output_option(default=None)
@cluster_options
@click.pass_obj
def forget(session: Session, name: str, *, output: str | None) -> None:
    """Remove the entry of a node that does not belong to the cluster.

    Such a node was registered by a version that did not refuse it. Its replicas, which never ran, go to other
    nodes. Refused while it is connected, or while a partition has no majority without it.
    """

    async def change() -> None:
        async with Api(session.target()) as api:
            await api.change("DELETE", f"/v1/nodes/{quote(name, safe='')}")

    run(change())
    talk(f"forgot node {name}")
    show({"node_id": name}, retiring.REMOVED, output)


node.add_command(drains.drain)
node.add_command(retiring.remove)
node.add_command(retiring.replace)
