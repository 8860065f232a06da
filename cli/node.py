"""``floodmark node``: the members of the cluster."""

from __future__ import annotations

from urllib.parse import quote

import click

from cli import drains
from cli.api import Api, Document
from cli.node_view import NODES
from cli.output import View, field, output_option, show
from cli.session import Session, cluster_options, confirm, run, talk


@click.group()
def node() -> None:
    """Show the nodes of the cluster, drain one, remove one, or forget one."""


@node.command("list")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, output: str | None) -> None:
    """List all nodes, as each says itself: state, leaders, replicas, disk, version, rack.

    The same at every node. One that does not answer is shown with what is known of it.
    """

    async def ask() -> Document:
        async with Api(session.url()) as api:
            return await api.get("/v1/nodes")

    show(run(ask()), NODES, output)


@node.command("forget")
@click.argument("name", metavar="NODE")
@output_option(default=None)
@cluster_options
@click.pass_obj
def forget(session: Session, name: str, *, output: str | None) -> None:
    """Strike off a node that is none of the cluster's own.

    Such a node was registered by a version that did not refuse it. Its replicas, which have never run, go to
    other nodes. Refused while it is connected, or while a partition has no majority without it.
    """

    async def change() -> None:
        async with Api(session.url()) as api:
            await api.change("DELETE", f"/v1/nodes/{quote(name, safe='')}")

    run(change())
    talk(f"forgot node {name}")
    show({"node_id": name}, _FORGOTTEN, output)


@node.command("remove")
@click.argument("name", metavar="NODE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def remove(session: Session, name: str, *, yes: bool, output: str | None) -> None:
    """Take a node out of the cluster for good: its id never returns.

    Refused while it has replicas: drain it first, which works for a dead node as well. A node that runs says
    that it was removed, and may be stopped.
    """
    confirm(f"Remove {name}? Its id can never be used again.", yes=yes)

    async def change() -> None:
        async with Api(session.url()) as api:
            await api.change("DELETE", f"/v1/nodes/{quote(name, safe='')}")

    run(change())
    talk(f"removed node {name}")
    show({"node_id": name}, _FORGOTTEN, output)


node.add_command(drains.drain)

_FORGOTTEN = View(columns=(field("Node", "node_id"),), name=NODES.name, items=lambda document: [document])
