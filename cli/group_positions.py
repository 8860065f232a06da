"""``floodmark group positions``: how far programs have come that store positions with their records."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

import click

from cli.api import Api, Document, all_topics, topic_path
from cli.complete import complete_groups, complete_topics
from cli.output import Column, View, field, output_option, show
from cli.session import Session, cluster_options, confirm, run, talk

_AT_ONCE: Final = 16
_POSITIONS = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        Column("Source", lambda one: one["source"] or f"#{one['source_topic_id']}"),
        Column("Source partition", lambda one: one["source_partition"], right=True),
        Column("Next offset", lambda one: one["next_offset"], right=True),
        Column("Epoch", lambda one: one["producer_epoch"], right=True, wide=True),
    ),
    name=lambda one: f"{one['topic']}/{one['partition']}",
    items=lambda document: document["positions"],
)


@click.command()
@click.argument("group_", metavar="GROUP", shell_complete=complete_groups)
@click.argument("topic", metavar="TOPIC", shell_complete=complete_topics)
@click.option("--delete", is_flag=True, help="Forget them: whoever goes on as this group begins again.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option()
@cluster_options
@click.pass_obj
def positions(
    session: Session, /, group_: str, topic: str, *, delete: bool, yes: bool, output: str | None
) -> None:
    """Say how far the sources are processed of what a program stores in TOPIC, partition by partition.

    These are the positions that are stored with records (client.process), not the offsets that consumers
    commit.
    """
    if delete:
        confirm(f"Delete the positions of group {group_} in topic {topic}?", yes=yes)
    found = run(_found(session, group_, topic, delete=delete))
    if delete:
        talk(f"deleted {len(found)} positions of {group_} in {topic}")
    show({"group": group_, "positions": found}, _POSITIONS, output)


async def _found(session: Session, group: str, topic: str, *, delete: bool) -> list[Document]:
    """Of all partitions, in order; as they were before they were deleted."""
    async with Api(session.target()) as api:
        described = await api.get(topic_path(topic))
        room = asyncio.Semaphore(_AT_ONCE)

        async def ask(number: int) -> list[Document]:
            path = f"{topic_path(topic)}/partitions/{number}/positions/{quote(group, safe='')}"
            async with room:
                kept: list[Document] = (await api.get(path, topic_id=described["topic_id"]))["positions"]
                if delete and kept:
                    await api.change("DELETE", path, topic_id=str(described["topic_id"]))
            return [_row(topic, number, each) for each in kept]

        asked = [ask(each["partition"]) for each in described["partitions"]]
        found = [row for rows in await asyncio.gather(*asked) for row in rows]
        if found:
            names = {each["topic_id"]: each["topic"] for each in await all_topics(api)}
            for row in found:
                row["source"] = names.get(row["source_topic_id"])
        return found


def _row(topic: str, number: int, kept: Document) -> Document:
    """``source``: the name of the topic with that id, None where it is gone or not to be seen."""
    return {
        "topic": topic,
        "partition": number,
        "source": None,
        "source_topic_id": kept["topic_id"],
        "source_partition": kept["partition"],
        "next_offset": kept["next_offset"],
        "producer_epoch": kept["producer_epoch"],
    }
