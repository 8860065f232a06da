"""``floodmark topic``: create, list, describe, alter, move and delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli import topic_moves
from cli.api import Api, Document, all_topics, topic_path
from cli.complete import complete_topics
from cli.exits import USAGE, Failure
from cli.output import Column, View, field, output_option, show
from cli.session import Session, cluster_options, confirm, run, talk
from cli.units import DURATION_MS, NO_LIMIT, SIZE_BYTES


def _config(key: str) -> Callable[[Document], object]:
    return lambda topic: topic.get("config", {}).get(key)


_TOPICS = View(
    columns=(
        field("Name", "topic"),
        field("Id", wide=True),
        Column("Partitions", lambda topic: len(topic["partitions"]), right=True),
        field("Replicas", "replication_factor", right=True),
        Column("Retention ms", _config("retention_ms"), right=True),
        Column("Retention bytes", _config("retention_bytes"), right=True),
        Column("Max record bytes", _config("max_record_bytes"), right=True, wide=True),
        Column("Segment bytes", _config("segment_bytes"), right=True, wide=True),
    ),
    name=lambda topic: str(topic["topic"]),
    items=lambda document: document.get("topics", [document]),
)

_PARTITIONS = View(
    columns=(
        field("Partition", right=True),
        field("Leader"),
        field("Replicas"),
        field("In sync"),
        field("Log start", "log_start_offset", right=True),
        field("High watermark", right=True),
        field("Leader epoch", right=True, wide=True),
        field("Term", right=True, wide=True),
    ),
    name=lambda partition: str(partition["partition"]),
    items=lambda topic: topic["partitions"],
)


def _config_options(command: Any) -> Any:
    options = (
        click.option(
            "--retention",
            type=DURATION_MS,
            help="Delete records after this time, as in 7d; none for no limit.",
        ),
        click.option(
            "--retention-size",
            type=SIZE_BYTES,
            help="Bytes to keep per partition, as in 10GiB; none for no limit.",
        ),
        click.option("--max-record-size", type=SIZE_BYTES, help="Largest record, as in 1MiB."),
        click.option(
            "-c", "--config", "extra", multiple=True, metavar="KEY=VALUE", help="Any other setting."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _config_of(
    retention: int | str | None,
    retention_size: int | str | None,
    max_record_size: int | str | None,
    extra: tuple[str, ...],
) -> Document:
    given: dict[str, int | str | None] = {
        "retention_ms": retention,
        "retention_bytes": retention_size,
        "max_record_bytes": max_record_size,
    }
    for assignment in extra:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(
                f"{assignment!r} is not a setting: write it as in segment_bytes=67108864",
                param_hint="--config",
            )
        given[key] = int(value) if value.isdecimal() else value
    return {key: None if value == NO_LIMIT else value for key, value in given.items() if value is not None}


@click.group()
def topic() -> None:
    """Create, show, change, move and delete topics."""


@topic.command("create")
@click.argument("name")
@click.option(
    "-p", "--partitions", type=click.IntRange(min=1), help="Number of partitions.  [default: the server's]"
)
@click.option(
    "-r",
    "--replication-factor",
    type=click.IntRange(min=1),
    help="Replicas of each partition.  [default: the server's]",
)
@_config_options
@output_option(default=None)
@cluster_options
@click.pass_obj
def create(
    session: Session,
    /,
    name: str,
    *,
    partitions: int | None,
    replication_factor: int | None,
    output: str | None,
    **config: Any,
) -> None:
    """Create a topic. If it exists with the same settings that is fine; with other settings it is a
    conflict."""
    wanted = {
        "partitions": partitions,
        "replication_factor": replication_factor,
        "config": _config_of(**config),
    }
    body = {key: value for key, value in wanted.items() if value}
    status, document = run(_change(session, "PUT", name, body))
    what = "created" if status == 201 else "there already, with the same settings:"
    count = len(document["partitions"])
    talk(f"{what} topic {name}: {count} partitions, {document['replication_factor']} replicas")
    show(document, _TOPICS, output)


@topic.command("list")
@click.option("--prefix", default="", help="Only topics whose names start with this.")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, prefix: str, output: str | None) -> None:
    """List topics in order of name."""

    async def ask() -> list[Document]:
        async with Api(session.target()) as api:
            return await all_topics(api, prefix=prefix)

    show({"topics": run(ask())}, _TOPICS, output)


@topic.command("describe")
@click.argument("name", shell_complete=complete_topics)
@output_option()
@cluster_options
@click.pass_obj
def describe(session: Session, name: str, *, output: str | None) -> None:
    """Show a topic's settings, and the nodes of its partitions."""

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return await api.get(topic_path(name))

    document = run(ask())
    if output in ("table", "wide"):
        config = "  ".join(
            f"{key}={'none' if value is None else value}" for key, value in document["config"].items()
        )
        talk(f"{name}: {document['replication_factor']} replicas  id={document.get('id')}  {config}")
    show(document, _PARTITIONS, output)


@topic.command("alter")
@click.argument("name", shell_complete=complete_topics)
@click.option(
    "-p",
    "--partitions",
    type=click.IntRange(min=1),
    help="New number of partitions (it can only grow); keys then map to other partitions.",
)
@click.option(
    "-r",
    "--replication-factor",
    type=click.IntRange(min=1),
    help="New number of replicas; they are moved as needed.",
)
@_config_options
@output_option(default=None)
@cluster_options
@click.pass_obj
def alter(
    session: Session,
    /,
    name: str,
    *,
    partitions: int | None,
    replication_factor: int | None,
    output: str | None,
    **config: Any,
) -> None:
    """Change a topic's settings (others stay as they are), its replication factor, or its partitions."""
    settings = _config_of(**config)
    changes = {"config": settings, "partitions": partitions, "replication_factor": replication_factor}
    given = {key: value for key, value in changes.items() if value}
    if not given:
        raise Failure("nothing to change", exit_code=USAGE, hint="give a setting, as in --retention 7d")
    if len(given) > 1:
        raise Failure("change one at a time: settings, --partitions or --replication-factor", exit_code=USAGE)
    _, document = run(_change(session, "PATCH", name, given))
    talk(f"changed topic {name}: {', '.join(settings or given)}")
    if warning := document.get("warning"):
        talk(f"note: {warning}")
    show(document, _TOPICS, output)


@topic.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_topics)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def delete(session: Session, names: tuple[str, ...], *, yes: bool, output: str | None) -> None:
    """Delete topics and all their records, on every node."""
    confirm(f"Delete {', '.join(names)} and all records?", yes=yes)
    for name in names:
        run(_change(session, "DELETE", name))
        talk(f"deleted topic {name}")
        show({"topic": name}, _DELETED, output)


topic.add_command(topic_moves.move)
topic.add_command(topic_moves.moves)

_DELETED = View(columns=(field("Name", "topic"),), name=_TOPICS.name, items=lambda document: [document])


async def _change(
    session: Session, method: str, name: str, body: Document | None = None
) -> tuple[int, Document]:
    async with Api(session.target()) as api:
        return await api.change(method, topic_path(name), body)
