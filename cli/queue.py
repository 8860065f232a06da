"""``floodmark queue``: queues on topics, whose records are settled one by one."""

from __future__ import annotations

from typing import Any, Final

import click

from cli.api import Api, Document
from cli.complete import complete_queues
from cli.output import Column, View, field, output_option, show
from cli.queue_dead import dead
from cli.queue_options import setting_options, settings_of
from cli.queue_work import QUEUES_PATH, SETTLING, queue_path, receive
from cli.session import Session, cluster_options, confirm, run, talk

_PAGE: Final = 1000
_LISTED = View(
    columns=(
        field("Queue"),
        field("Topic"),
        field("Depth", right=True),
        field("Dead", right=True),
        field("Breaker"),
    ),
    name=lambda queue: str(queue["queue"]),
    items=lambda document: document["queues"],
)
_QUEUE = View(
    columns=(
        field("Queue"),
        Column("Topic", lambda queue: queue["config"]["topic"]),
        Column("Ordering", lambda queue: queue["config"]["ordering"]),
        field("Depth", right=True),
        field("In flight", right=True),
        field("Waiting", right=True),
        field("Held", right=True),
        field("Delayed", right=True),
        field("Dead", right=True),
        field("Settled", right=True, wide=True),
        field("Redelivered", right=True, wide=True),
        field("Lost", right=True, wide=True),
        Column("Dead letters", lambda queue: queue["config"]["dead_letter_topic"], wide=True),
        field("Breaker"),
        field("Health"),
    ),
    name=lambda queue: str(queue["queue"]),
    items=lambda document: [document],
)
_PARTITIONS = View(
    columns=(
        field("Partition", right=True),
        field("Next", right=True),
        field("End", right=True),
        field("Unsettled", right=True),
        field("Lost", right=True),
    ),
    name=lambda one: str(one["partition"]),
    items=lambda document: document["partitions"],
)
_DELETED = View(
    columns=(field("Queue"),), name=lambda item: str(item["queue"]), items=lambda document: [document]
)
_PURGED = View(
    columns=(field("Queue"), field("Purged", right=True)),
    name=lambda item: str(item["queue"]),
    items=lambda document: [document],
)


@click.group()
def queue() -> None:
    """Work off topics record by record, with as many workers as you like.

    \b
    floodmark queue create jobs --topic orders
    floodmark queue receive jobs -o jsonl
    """


queue.add_command(receive)
for each in SETTLING:
    queue.add_command(each)
queue.add_command(dead)


@queue.command("create")
@click.argument("name", metavar="QUEUE")
@setting_options
@output_option(default=None)
@cluster_options
@click.pass_obj
def create(session: Session, /, name: str, *, output: str | None, **settings: Any) -> None:
    """Make a queue, or give one that is there these settings. What is left out has its default in a new
    queue, and stays as it is in one that is there."""
    body = settings_of(**settings)

    async def ask() -> tuple[int, Document]:
        async with Api(session.target()) as api:
            return await api.change("PUT", queue_path(name), body)

    status, document = run(ask())
    config = document["config"]
    what = "created" if status == 201 else "there already, and has these settings now:"
    where = config["dead_letter_topic"] or "nowhere"
    talk(f"{what} queue {name} on topic {config['topic']}; dead letters go to {where}")
    show(document, _QUEUE, output)


@queue.command("list")
@click.option("--prefix", default="", metavar="TEXT", help="Only queues whose names begin with this.")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, prefix: str, output: str | None) -> None:
    """List the queues."""

    async def ask() -> Document:
        queues: list[Document] = []
        async with Api(session.target()) as api:
            while True:
                after = queues[-1]["queue"] if queues else ""
                page = await api.get(QUEUES_PATH, prefix=prefix, after=after, limit=_PAGE)
                queues += page["queues"]
                if len(page["queues"]) < _PAGE:
                    return {"queues": queues}

    show(run(ask()), _LISTED, output)


@queue.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.option("--partitions", is_flag=True, help="How far it is in each partition.")
@output_option()
@cluster_options
@click.pass_obj
def describe(session: Session, queue_: str, *, partitions: bool, output: str | None) -> None:
    """Describe a queue: how much there is, and whether it delivers."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(queue_path(queue_))

    show(run(ask()), _PARTITIONS if partitions else _QUEUE, output)


@queue.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def purge(session: Session, queue_: str, *, yes: bool, output: str | None) -> None:
    """Settle all that is there now: nobody gets it any more. The topic and its records stay."""
    confirm(f"Settle all records that queue {queue_} has now?", yes=yes)

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("POST", queue_path(queue_, "/purge")))[1]

    document = run(ask())
    talk(f"settled about {document['purged']} records of queue {queue_}")
    show({"queue": queue_, **document}, _PURGED, output)


@queue.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def delete(session: Session, queue_: str, *, yes: bool, output: str | None) -> None:
    """Delete a queue, with what was not settled. Its topics and their records stay."""
    confirm(f"Delete queue {queue_}?", yes=yes)

    async def ask() -> None:
        async with Api(session.target()) as api:
            await api.change("DELETE", queue_path(queue_))

    run(ask())
    talk(f"deleted queue {queue_}")
    show({"queue": queue_}, _DELETED, output)
