"""``floodmark cluster rebalance``: spread replicas and leaders evenly over the nodes."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from cli.api import Api, Document
from cli.exits import USAGE, Failure
from cli.node_view import size_text
from cli.output import Column, View, field, output_option, show
from cli.session import Session, Target, cluster_options, run, talk

PATH: Final = "/v1/cluster/rebalance"
LOOK_S: Final = 1.0

_MOVES = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        field("From", "replicas"),
        field("To", "target"),
        Column("Bytes", lambda move: size_text(move["bytes"]), right=True),
    ),
    name=lambda move: f"{move['topic']}/{move['partition']}",
    items=lambda document: document["moves"],
)


@click.command("rebalance")
@click.option("--dry-run", is_flag=True, help="Only show what would move.")
@click.option("--cancel", is_flag=True, help="Cancel the rebalance; moves under way are undone.")
@click.option("--no-wait", is_flag=True, help="Return at once instead of waiting until it is done.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def rebalance(session: Session, *, dry_run: bool, cancel: bool, no_wait: bool, output: str | None) -> None:
    """Move replicas and leaderships until they are spread evenly, moving as few bytes as possible.

    Waits until it is done; Ctrl-C ends only the waiting, and the rebalance goes on. Drained nodes are left
    out.
    """
    if dry_run and cancel:
        raise Failure("use either --dry-run or --cancel, not both", exit_code=USAGE)
    document = run(_rebalance(session.target(), dry_run=dry_run, cancel=cancel, stay=not no_wait))
    show(document, _MOVES, output or ("table" if dry_run else None))


async def _rebalance(server: Target, *, dry_run: bool, cancel: bool, stay: bool) -> Document:
    async with Api(server) as api:
        if dry_run:
            document = await api.get(PATH)
            talk(_plan(document, "would move"))
            _talk_lacking(document)
            return document
        _, document = await api.change("DELETE" if cancel else "POST", PATH)
        if cancel:
            talk("the rebalance is cancelled")
            return document
        talk(_plan(document, "to move"))
        _talk_lacking(document)
        told = len(document["moves"])
        while stay and document["rebalancing"]:
            await asyncio.sleep(LOOK_S)
            document = await api.get(PATH)
            if len(document["moves"]) != told:
                told = len(document["moves"])
                talk(_plan(document, "to move"))
        if stay:
            talk("the rebalance has ended")
        return document


def _talk_lacking(document: Document) -> None:
    """Print which nodes get no replicas, and why."""
    for share in document["nodes"]:
        if share["lacking"]:
            talk(f"no replica moves to {share['node_id']}: it {share['lacking']}")


def _plan(document: Document, what: str) -> str:
    moves = document["moves"]
    replicas = sum(1 for move in moves if set(move["replicas"]) != set(move["target"]))
    return (
        f"{replicas} partitions {what}, about {size_text(document['bytes'])}; "
        f"{len(moves) - replicas} get another leader among their nodes"
    )
