"""``floodmark cluster``: the whole cluster, as the node that is asked sees it."""

from __future__ import annotations

from typing import Final

import click

from cli import rebalance as rebalancing
from cli.api import Api, Document, all_topics, topic_path
from cli.cluster_init import init
from cli.cluster_roll import roll
from cli.exits import UNAVAILABLE, USAGE, Failure
from cli.output import View, field, output_option, show
from cli.session import Session, cluster_options, run, talk

_FEATURES_PATH: Final = "/v1/cluster/features"

_STATUS = View(
    columns=(
        field("Cluster", "cluster_id"),
        field("Asked", "node_id"),
        field("Metadata leader"),
        field("Metadata voters", wide=True),
        field("Epoch", "cluster_epoch", right=True, wide=True),
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

_FEATURES = View(
    columns=(
        field("Node", "node_id"),
        field("Knows levels", "levels"),
        field("Cluster is at", "level", right=True),
        field("Can be raised to", "can_finalize", right=True),
    ),
    name=lambda node: str(node["node_id"]),
    items=lambda document: [
        {
            **node,
            "levels": f"{node['lowest']} to {node['highest']}",
            "level": document["level"],
            "can_finalize": document["can_finalize"],
        }
        for node in document["nodes"]
    ],
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
    """Set up a new cluster, show the state of one, restart its nodes, raise its feature level."""


cluster.add_command(init)
cluster.add_command(roll)


@cluster.command("status")
@output_option()
@cluster_options
@click.pass_obj
def status(session: Session, *, output: str | None) -> None:
    """Show the number of topics and partitions, and what is wrong with them."""
    show(run(_ask(session, "/v1/cluster")), _STATUS, output)


@cluster.command("health")
@output_option()
@cluster_options
@click.pass_context
def health(ctx: click.Context, *, output: str | None) -> None:
    """Show whether anything is wrong on any node; exit code 5 if something is."""
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
        async with Api(session.target()) as api:
            return leaders_of(
                [await api.get(topic_path(topic))] if topic is not None else await all_topics(api)
            )

    show({"leaders": run(ask())}, _LEADERS, output)


@cluster.command("features")
@output_option()
@cluster_options
@click.pass_obj
def features(session: Session, *, output: str | None) -> None:
    """Show the feature level of the cluster, and the levels that each node supports."""
    show(run(_ask(session, _FEATURES_PATH)), _FEATURES, output)


@cluster.command("upgrade")
@click.option(
    "--finalize",
    is_flag=False,
    flag_value="highest",
    required=True,
    metavar="[LEVEL]",
    help="Raise the feature level, for good: to LEVEL, or to the highest that every node supports.",
)
@output_option(default=None)
@cluster_options
@click.pass_obj
def upgrade(session: Session, *, finalize: str, output: str | None) -> None:
    """Let the cluster use the features of a newer Floodmark, once every node runs it.

    After that, nodes of an older build cannot take part any more.
    """
    if finalize != "highest" and not finalize.isdecimal():
        raise Failure(f"{finalize!r} is not a feature level", exit_code=USAGE, hint="use a number, as in 2")

    async def change() -> tuple[int, Document]:
        async with Api(session.target()) as api:
            before = await api.get(_FEATURES_PATH)
            level = int(finalize) if finalize != "highest" else before["can_finalize"] or before["level"]
            return before["level"], (await api.change("POST", _FEATURES_PATH, {"level": level}))[1]

    before, document = run(change())
    if document["level"] == before:
        talk(f"the cluster stays at feature level {before}")
    else:
        talk(f"the cluster is now at feature level {document['level']}; it was at {before}")
    show(document, _FEATURES, output)


cluster.add_command(rebalancing.rebalance)


def leaders_of(topics: list[Document]) -> list[Document]:
    """One document per partition, with its topic's name."""
    return [{"topic": topic["topic"], **partition} for topic in topics for partition in topic["partitions"]]


async def _ask(session: Session, path: str) -> Document:
    async with Api(session.target()) as api:
        return await api.get(path)
