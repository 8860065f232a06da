"""``floodmark cluster``: the whole picture, as the node asked sees it."""

from __future__ import annotations

import click

from cli.api import Api, Document, all_topics, topic_path
from cli.exits import UNAVAILABLE
from cli.output import View, field, output_option, show
from cli.session import Session, cluster_options, run

_STATUS = View(
    columns=(
        field("Cluster", "cluster_id"),
        field("Asked", "node_id"),
        field("Metadata leader"),
        field("Metadata voters", wide=True),
        field("Topics", right=True),
        field("Partitions", right=True),
        field("Leaderless", "leaderless_partitions", right=True),
        field("Under-replicated", "under_replicated_partitions", right=True),
    ),
    name=lambda cluster: str(cluster["cluster_id"]),
    items=lambda document: [document],
)

_HEALTH = View(
    columns=(field("Healthy"), field("Reasons"), field("Asked", "node_id", wide=True)),
    name=lambda health: "healthy" if health["healthy"] else "unhealthy",
    items=lambda document: [document],
)

_LEADERS = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        field("Leader"),
        field("Replicas"),
        field("In sync"),
        field("High watermark", right=True, wide=True),
        field("Term", right=True, wide=True),
    ),
    name=lambda leader: f"{leader['topic']}/{leader['partition']}",
    items=lambda document: document["leaders"],
)


@click.group()
def cluster() -> None:
    """Show the state of the cluster."""


@cluster.command("status")
@output_option()
@cluster_options
@click.pass_obj
def status(session: Session, *, output: str | None) -> None:
    """Count topics, partitions, and what is wrong with them."""
    show(run(_ask(session, "/v1/cluster")), _STATUS, output)


@cluster.command("health")
@output_option()
@cluster_options
@click.pass_context
def health(ctx: click.Context, *, output: str | None) -> None:
    """Say whether anything is wrong on any node; exit code 5 when something is."""
    document = run(_ask(ctx.obj, "/v1/cluster/health"))
    show(document, _HEALTH, output)
    ctx.exit(0 if document["healthy"] else UNAVAILABLE)


@cluster.command("leaders")
@click.option("--topic", help="Only this topic.")
@output_option()
@cluster_options
@click.pass_obj
def leaders(session: Session, *, topic: str | None, output: str | None) -> None:
    """Show which node leads each partition."""

    async def ask() -> list[Document]:
        async with Api(session.url()) as api:
            return leaders_of(
                [await api.get(topic_path(topic))] if topic is not None else await all_topics(api)
            )

    show({"leaders": run(ask())}, _LEADERS, output)


def leaders_of(topics: list[Document]) -> list[Document]:
    """One document per partition, with its topic's name."""
    return [{"topic": topic["topic"], **partition} for topic in topics for partition in topic["partitions"]]


async def _ask(session: Session, path: str) -> Document:
    async with Api(session.url()) as api:
        return await api.get(path)
