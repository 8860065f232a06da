"""``floodmark node``: the members of the cluster."""

from __future__ import annotations

import click

from cli.api import Api, Document
from cli.output import View, field, output_option, show
from cli.session import Session, cluster_options, run

NODES = View(
    columns=(
        field("Node", "node_id"),
        field("Alive"),
        field("HTTP", "http"),
        field("Peer", wide=True),
        field("Leads", right=True),
        field("Replicas", right=True),
        field("Incarnation", wide=True),
    ),
    name=lambda node: str(node["node_id"]),
    items=lambda document: document["nodes"],
)


@click.group()
def node() -> None:
    """Show the nodes of the cluster."""


@node.command("list")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, output: str | None) -> None:
    """List all nodes, as the one asked sees them."""

    async def ask() -> Document:
        async with Api(session.url()) as api:
            return await api.get("/v1/nodes")

    show(run(ask()), NODES, output)
