"""``floodmark group``: groups of consumers, where they are, and how far behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import click

from cli.api import Api, Document
from cli.complete import complete_groups, complete_topics
from cli.exits import USAGE, Failure
from cli.group_offsets import partition_of, read_offsets
from cli.group_positions import positions
from cli.output import Column, View, field, output_option, show
from cli.session import Session, cluster_options, confirm, run, talk

_PATH: Final = "/v1/groups"
_PAGE: Final = 1000
_GROUPS = View(
    columns=(
        field("Group"),
        field("Type"),
        field("State"),
        Column("Members", lambda group: _count(group["members"]), right=True),
        field("Epoch", right=True, wide=True),
        field("Assignor", wide=True),
    ),
    name=lambda group: str(group["group"]),
    items=lambda document: document.get("groups", [document]),
)
_MEMBERS = View(
    columns=(
        Column("Member", lambda member: member["member_id"]),
        field("Instance", "instance_id"),
        field("Client", "client_id"),
        field("Address"),
        Column("Epoch", lambda member: member["member_epoch"], right=True),
        Column("Partitions", lambda member: _places(member["assignment"])),
        Column("Target", lambda member: _places(member["target"]), wide=True),
    ),
    name=lambda member: str(member["member_id"]),
    items=lambda document: document["members"],
)
_LAG = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        field("Offset", right=True),
        field("End", right=True),
        field("Lag", right=True),
        Column("Behind", lambda one: _age(one["lag_ms"]), right=True),
        field("Member", "member_id"),
    ),
    name=lambda one: f"{one['topic']}/{one['partition']}",
    items=lambda document: document["partitions"],
)
_RESET = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        field("Before", right=True),
        field("After", right=True),
    ),
    name=lambda one: f"{one['topic']}/{one['partition']}",
    items=lambda document: document["offsets"],
)


@click.group()
def group() -> None:
    """Look after consumer groups.

    A group is made by its first consumer: 'floodmark consume TOPIC -g GROUP'.
    """


group.add_command(positions)


@group.command("list")
@click.option("--prefix", default="", metavar="TEXT", help="Only groups whose names begin with this.")
@output_option()
@cluster_options
@click.pass_obj
def list_(session: Session, *, prefix: str, output: str | None) -> None:
    """List the groups."""

    async def ask() -> Document:
        groups: list[Document] = []
        async with Api(session.target()) as api:
            while True:
                after = groups[-1]["group"] if groups else ""
                page = await api.get(_PATH, prefix=prefix, after=after, limit=_PAGE)
                groups += page["groups"]
                if len(page["groups"]) < _PAGE:
                    return {"groups": groups}

    show(run(ask()), _GROUPS, output)


@group.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@output_option()
@cluster_options
@click.pass_obj
def describe(session: Session, group_: str, *, output: str | None) -> None:
    """Describe a group."""
    show(run(_get(session, group_)), _GROUPS, output)


@group.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@click.option("--remove", metavar="MEMBER", help="Remove this member: others get its partitions at once.")
@output_option()
@cluster_options
@click.pass_obj
def members(session: Session, group_: str, *, remove: str | None, output: str | None) -> None:
    """List a group's members and the partitions that each reads."""

    async def take_away(member: str) -> None:
        async with Api(session.target()) as api:
            await api.change("DELETE", f"{_of(group_)}/members/{quote(member, safe='')}")

    if remove is not None:
        run(take_away(remove))
        talk(f"{remove} is not a member any more")
    show(run(_get(session, group_)), _MEMBERS, output)


@group.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@output_option()
@cluster_options
@click.pass_obj
def lag(session: Session, group_: str, *, output: str | None) -> None:
    """Say how far a group is behind in each partition, in records and in time."""
    show(run(_get(session, group_, "/lag")), _LAG, output)


@group.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@click.option(
    "--to",
    metavar="POSITION",
    help="earliest, latest, an offset, @2026-01-31T10:00Z, or so many back or on: -10, +10.",
)
@click.option(
    "--file",
    "file",
    type=click.File(),
    help="Lines with topic,partition,offset, as -o jsonl prints them as well; - is standard input.",
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_topics,
    help="Only of this topic.",
)
@click.option(
    "--partition", "partitions", multiple=True, metavar="TOPIC/N", help="Only this partition, as in orders/0."
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be changed.")
@click.option("--force", is_flag=True, help="Also while the group has members: they go on there.")
@output_option()
@cluster_options
@click.pass_obj
def seek(
    session: Session,
    /,
    group_: str,
    *,
    to: str | None,
    file: Any,
    topics: Sequence[str],
    partitions: Sequence[str],
    dry_run: bool,
    force: bool,
    output: str | None,
) -> None:
    """Have a group go on elsewhere, in all partitions that it has read, or in those given.

    \b
    floodmark group seek billing --to earliest --dry-run
    floodmark group seek billing --to @2026-01-31T10:00Z --topic orders
    floodmark group seek billing --to -100 --partition orders/3
    """
    if (to is None) == (file is None):
        raise Failure("where to? Give --to, or --file", exit_code=USAGE)
    body: Document = {"dry_run": dry_run, "force": force}
    if to is not None:
        body["to"] = to
        if topics:
            body["topics"] = list(topics)
        if partitions:
            body["partitions"] = [partition_of(text) for text in partitions]
    else:
        body["offsets"] = read_offsets(file)

    async def ask() -> Document:
        async with Api(session.target()) as api:
            return (await api.change("POST", f"{_of(group_)}/offsets/reset", body))[1]

    document = run(ask())
    talk("nothing was changed; this would be" if dry_run else f"{group_} goes on here")
    show(document, _RESET, output)


@group.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@click.option(
    "--topic", metavar="NAME", shell_complete=complete_topics, help="Only forget its offsets in this topic."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def delete(session: Session, group_: str, *, topic: str | None, yes: bool, output: str | None) -> None:
    """Delete a group and the offsets that it has committed. Its members have to be gone."""
    what = f"group {group_}" if topic is None else f"the offsets of group {group_} in topic {topic}"
    confirm(f"Delete {what}?", yes=yes)

    async def ask() -> None:
        async with Api(session.target()) as api:
            if topic is None:
                await api.change("DELETE", _of(group_))
            else:
                await api.change("DELETE", f"{_of(group_)}/offsets", None, topic=topic)

    run(ask())
    talk(f"deleted {what}")
    show({"group": group_, "type": "-", "state": "deleted", "members": 0}, _GROUPS, output)


async def _get(session: Session, name: str, below: str = "") -> Document:
    async with Api(session.target()) as api:
        return await api.get(f"{_of(name)}{below}")


def _of(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _count(members: int | list[Any]) -> int:
    return members if isinstance(members, int) else len(members)


def _places(assignment: Sequence[Document]) -> str:
    """``orders/0-2,5 payments/1``"""
    by_topic: dict[str, list[int]] = {}
    for one in assignment:
        by_topic.setdefault(one["topic"], []).append(one["partition"])
    return " ".join(f"{topic}/{_ranges(sorted(found))}" for topic, found in sorted(by_topic.items()))


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _age(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    seconds = milliseconds / 1000
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s"
