"""``floodmark queue dead``: records that died, and how they come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from cli.api import TIMEOUT_S, Api, Document
from cli.complete import complete_queues
from cli.exits import USAGE, Failure
from cli.output import Column, View, field, output_option, show, show_exact
from cli.queue_work import queue_path
from cli.record_document import KEY, VALUE, dead_record_of, time_text
from cli.session import Session, cluster_options, confirm, run, talk

_PAGE: Final = 1000
_COLUMNS = (
    field("Id"),
    field("Topic"),
    field("Partition", right=True),
    field("Offset", right=True),
    field("Deliveries", right=True),
    Column("Died", lambda letter: time_text(letter["died_ms"])),
    field("Worker", wide=True),
    Column("First delivered", lambda letter: time_text(letter["first_delivered_ms"]), wide=True),
    Column("Now at", lambda letter: _place(letter.get("dead_letter")), wide=True),
    field("Replaying", wide=True),
    field("Reason"),
)
_DEAD = View(columns=_COLUMNS, name=lambda letter: str(letter["id"]), items=lambda document: document["dead"])
_SHOWN = View(
    columns=(
        *_COLUMNS,
        Column("Key", lambda letter: _content(letter, KEY)),
        Column("Value", lambda letter: _content(letter, VALUE)),
    ),
    name=lambda letter: str(letter["id"]),
    items=lambda document: [document],
)
_DONE = View(
    columns=(
        field("Queue"),
        Column("Letters", lambda item: item.get("replayed", item.get("purged")), right=True),
    ),
    name=lambda item: str(item["queue"]),
    items=lambda document: [document],
)


@click.group()
def dead() -> None:
    """Look at dead letters, and deliver them again."""


@dead.command("list")
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, queue_: str, *, output: str | None) -> None:
    """List the dead letters of a queue, without their records."""

    async def ask() -> Document:
        letters: list[Document] = []
        async with Api(session.target()) as api:
            while True:
                after = {"after": letters[-1]["id"]} if letters else {}
                page = await api.get(queue_path(queue_, "/dead"), limit=_PAGE, **after)
                letters += page["dead"]
                if len(page["dead"]) < _PAGE:
                    return {"dead": letters}

    show(run(ask()), _DEAD, output)


@dead.command("show")
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.argument("letter", metavar="ID")
@output_option(default="json")
@cluster_options
@click.pass_obj
def show_(session: Session, queue_: str, letter: str, *, output: str) -> None:
    """Show a dead letter with its record, and what the dead letter topic's headers say of it."""

    async def ask() -> Document:
        async with session.target().client(timeout_s=TIMEOUT_S) as client:
            found = await client.queues.dead_letter(queue_, letter)
        record = found.record
        shown = None if record is None else dead_record_of(record)
        return {**msgspec.to_builtins(found.letter), "record": shown}

    show_exact(run(ask()), _SHOWN, output)


@dead.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.argument("letters", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are listed.")
@click.option("--key-prefix", metavar="TEXT", help="Those whose keys begin with this.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Those with this header.")
@click.option("--per-second", type=click.FloatRange(min=0.001), help="So many at most.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def replay(
    session: Session,
    /,
    queue_: str,
    letters: Sequence[str],
    *,
    all_: bool,
    key_prefix: str | None,
    headers: Sequence[str],
    per_second: float | None,
    output: str | None,
) -> None:
    """Deliver dead letters again, to this queue alone, in order of their keys.

    \b
    floodmark queue dead replay jobs 7-0-3
    floodmark queue dead replay jobs --key-prefix customer- --per-second 10
    """
    body: Document = {}
    if key_prefix is not None:
        body["key_prefix"] = key_prefix
    if headers:
        body["headers"] = dict(map(_header, headers))
    body = _chosen(letters, all_=all_, others=body)
    if per_second is not None:
        body["per_second"] = per_second
    done = run(_change(session, queue_, "/dead/replay", body))
    talk(f"{done['replayed']} dead letters of queue {queue_} are delivered again")
    show({"queue": queue_, **done}, _DONE, output)


@dead.command()
@click.argument("queue_", metavar="QUEUE", shell_complete=complete_queues)
@click.argument("letters", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are listed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def purge(
    session: Session, /, queue_: str, letters: Sequence[str], *, all_: bool, yes: bool, output: str | None
) -> None:
    """Take dead letters off the list: they cannot be replayed then. Their records stay in their topic."""
    body = _chosen(letters, all_=all_, others={})
    count = "all" if all_ else str(len(letters))
    confirm(f"Take {count} dead letters of queue {queue_} off its list?", yes=yes)
    done = run(_change(session, queue_, "/dead/purge", body))
    talk(f"{done['purged']} dead letters of queue {queue_} are off the list")
    show({"queue": queue_, **done}, _DONE, output)


def _chosen(letters: Sequence[str], *, all_: bool, others: Document) -> Document:
    if [bool(letters), all_, bool(others)].count(True) != 1:
        raise Failure("which ones? Give ids, or --all, or what else chooses them", exit_code=USAGE)
    if letters:
        return {"ids": list(letters)}
    return others or {"all": True}


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"{text!r} is not a header: write it as in tenant=a", exit_code=USAGE)
    return name, value


async def _change(session: Session, name: str, below: str, body: Any) -> Document:
    async with Api(session.target()) as api:
        return (await api.change("POST", queue_path(name, below), body))[1]


def _content(letter: Document, column: Column) -> object:
    record = letter["record"]
    return None if record is None else column.cell(record)


def _place(where: Document | None) -> str | None:
    return (
        None
        if where is None or where["topic"] is None
        else f"{where['topic']}/{where['partition']}/{where['offset']}"
    )
