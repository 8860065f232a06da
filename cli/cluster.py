"""``floodmark cluster``: the whole picture, as the node asked sees it."""

from __future__ import annotations

import click

from cli.api import Api, Document, all_topics
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
    columns=(field("Healthy"), field("Reasons")),
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
    show(run(_cluster(session)), _STATUS, output)


@cluster.command("health")
@output_option()
@cluster_options
@click.pass_context
def health(ctx: click.Context, *, output: str | None) -> None:
    """Say whether anything is wrong; exit code 5 when something is."""
    reasons = reasons_of(run(_cluster(ctx.obj)))
    show({"healthy": not reasons, "reasons": reasons}, _HEALTH, output)
    ctx.exit(UNAVAILABLE if reasons else 0)


@cluster.command("leaders")
@click.option("--topic", help="Only this topic.")
@output_option()
@cluster_options
@click.pass_obj
def leaders(session: Session, *, topic: str | None, output: str | None) -> None:
    """Show which node leads each partition."""

    async def ask() -> list[Document]:
        async with Api(session.url()) as api:
            return leaders_of(await all_topics(api, prefix=topic or ""))

    rows = run(ask())
    show({"leaders": [row for row in rows if topic in (None, row["topic"])]}, _LEADERS, output)


def leaders_of(topics: list[Document]) -> list[Document]:
    """One document per partition, with its topic's name."""
    return [{"topic": topic["topic"], **partition} for topic in topics for partition in topic["partitions"]]


def reasons_of(cluster_document: Document) -> list[str]:
    """Everything that is wrong with a cluster, in words."""
    reasons = [
        f"node {node['node_id']} does not answer" for node in cluster_document["nodes"] if not node["alive"]
    ]
    if cluster_document["metadata_leader"] is None:
        reasons.append("the metadata group has no leader")
    for key, what in (
        ("leaderless_partitions", "no leader"),
        ("under_replicated_partitions", "too few replicas in sync"),
    ):
        if cluster_document[key]:
            reasons.append(f"{cluster_document[key]} partitions have {what}")
    return reasons


async def _cluster(session: Session) -> Document:
    async with Api(session.url()) as api:
        return await api.get("/v1/cluster")
