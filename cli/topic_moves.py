"""``floodmark topic move`` and ``topic moves``: replicas on their way to other nodes."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from cli.api import Api, Document, topic_path
from cli.exits import CONFLICT, USAGE, Failure
from cli.node_view import size_text
from cli.output import Column, View, field, output_option, show
from cli.session import Session, Target, cluster_options, run, talk

PATH: Final = "/v1/reassignments"
LOOK_S: Final = 0.5

MOVES = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        Column("State", lambda move: "moving" if move["started"] else "queued"),
        field("From", "replicas"),
        field("To", "target"),
        Column("Lacks", lambda move: lacking(move) or "-"),
        field("Leader", wide=True),
        field("Reason", wide=True),
        field("Number", right=True, wide=True),
    ),
    name=lambda move: f"{move['topic']}/{move['partition']}",
    items=lambda document: document["reassignments"],
)


def lacking(move: Document) -> str:
    """The bytes that each new replica still lacks."""
    return ", ".join(f"{replica['node']} {size_text(replica['bytes'])}" for replica in move["catching_up"])


@click.command("move")
@click.argument("partition", metavar="TOPIC/PARTITION")
@click.argument("replicas", required=False, metavar="NODE,NODE,...")
@click.option("--cancel", is_flag=True, help="Undo the move that is under way instead.")
@click.option("--no-wait", is_flag=True, help="Return at once instead of waiting until it is done.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def move(
    session: Session, partition: str, replicas: str | None, *, cancel: bool, no_wait: bool, output: str | None
) -> None:
    """Move a partition's replicas to these nodes, while it is written and read. The first one is the
    preferred leader.

    The old replicas stay until the new ones have everything. Ctrl-C ends only the waiting, and the move goes
    on.
    """
    topic, slash, number = partition.rpartition("/")
    if not (slash and topic and number.isdecimal()):
        raise Failure(f"{partition!r} is not a partition", exit_code=USAGE, hint="write it as in orders/0")
    if cancel == (replicas is not None):
        raise Failure("give the nodes, or --cancel", exit_code=USAGE, hint="as in orders/0 n1,n2,n3")
    nodes = None if replicas is None else [name.strip() for name in replicas.split(",")]
    wanted = {"topic": topic, "partition": int(number), "replicas": nodes}
    document = run(_move(session.target(), wanted, stay=not no_wait))
    show(document, MOVES, output)


@click.command("moves")
@output_option()
@cluster_options
@click.pass_obj
def moves(session: Session, *, output: str | None) -> None:
    """List the partitions whose replicas are moving to other nodes, or queued to move."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(PATH)

    show(run(ask()), MOVES, output)


async def _move(server: Target, wanted: Document, *, stay: bool) -> Document:
    named = f"{wanted['topic']}/{wanted['partition']}"
    async with Api(server) as api:
        _, document = await api.change("POST", PATH, {"reassignments": [wanted]})
        begun = next(iter(document["reassignments"]), None)
        if begun is None:
            talk(f"{named}: nothing to move")
            return document
        talk(f"{named} moves to {','.join(begun['target'])}")
        if stay:
            await _stay(api, named, begun)
    return document


async def _stay(api: Api, named: str, begun: Document) -> None:
    """Wait until the move is done; prints the progress."""
    told = ""
    while (now := await _find(api, begun)) is not None:
        said = lacking(now) if now["started"] else "waits for its turn"
        if said and said != told:
            talk(f"{named}: {said if not now['started'] else f'still to fetch: {said}'}")
            told = said
        await asyncio.sleep(LOOK_S)
    described = await api.get(topic_path(begun["topic"]))
    replicas = described["partitions"][begun["partition"]]["replicas"]
    if replicas != begun["target"]:
        raise Failure(
            f"{named} is on {','.join(replicas)}: the move was changed or undone by another command",
            exit_code=CONFLICT,
        )
    talk(f"{named} is on {','.join(replicas)}")


async def _find(api: Api, begun: Document) -> Document | None:
    """The same move in its current state; None if it has ended."""
    rows = (await api.get(PATH))["reassignments"]
    return next((row for row in rows if row["number"] == begun["number"]), None)
