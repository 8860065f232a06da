"""``floodmark node remove`` and ``floodmark node replace``: take nodes out for good."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

import click
from floodmark.errors import NotFound

from cli.api import Api, Document
from cli.drains import DRAIN, state, stay
from cli.exits import CONFLICT, Failure
from cli.output import View, field, output_option, show
from cli.session import Session, Target, cluster_options, confirm, run, talk

NAMED_MAX: Final = 20
REMOVED = View(columns=(field("Node", "node_id"),), name=DRAIN.name, items=lambda document: [document])


@click.command("remove")
@click.argument("name", metavar="NODE")
@click.option("--force", is_flag=True, help="Even if partitions are left with too few replicas.")
@click.option(
    "--no-wait", is_flag=True, help="With --force: return at once instead of waiting until it is done."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def remove(session: Session, name: str, *, force: bool, no_wait: bool, yes: bool, output: str | None) -> None:
    """Take a node out of the cluster for good: its id cannot be used again.

    Refused while it has replicas: drain it first, which works for a dead node as well. With --force,
    partitions whose replicas find no other node are left with too few; they are listed before you are asked.
    Even with --force it is refused if records would be lost. A node that is running logs that it was removed,
    and can be stopped.
    """
    if force:
        _talk_removal(run(_removal(session.target(), name)))
    confirm(f"Remove {name}? Its id can never be used again.", yes=yes)
    document = run(_remove(session.target(), name, force=force, wait=not no_wait))
    if not document["done"]:
        show(document, DRAIN, output)
        return
    talk(f"removed node {name}")
    show({"node_id": name}, REMOVED, output)


@click.command("replace")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--no-wait", is_flag=True, help="Return at once instead of waiting until it is done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def replace(session: Session, old: str, new: str, *, no_wait: bool, yes: bool, output: str | None) -> None:
    """Replace the dead node OLD by NEW, which has joined; OLD is then removed for good.

    Waits until NEW has everything that OLD had, and shows the progress. Ctrl-C ends only the waiting; run the
    command again to wait again, or `node drain OLD --undo` to cancel. A machine that comes back under its own
    name does not need this: start it.
    """
    confirm(f"Replace {old} by {new}? The id {old} can never be used again.", yes=yes)
    document = run(_replace(session.target(), old, new, wait=not no_wait))
    if document["done"]:
        talk(f"{new} has taken the place of {old}, which is removed")
    show(document, DRAIN, output)


def _path(name: str, rest: str = "") -> str:
    return f"/v1/nodes/{quote(name, safe='')}{rest}"


async def _removal(server: Target, name: str) -> Document:
    async with Api(server) as api:
        return await api.get(_path(name, "/removal"))


async def _remove(server: Target, name: str, *, force: bool, wait: bool) -> Document:
    async with Api(server) as api:
        if not force:
            await api.change("DELETE", _path(name))
            return {"done": True}
        _, document = await api.change("DELETE", _path(name), force="true")
        talk(state(document))
        return await _until_removed(api, name, document) if wait else document


async def _replace(server: Target, old: str, new: str, *, wait: bool) -> Document:
    async with Api(server) as api:
        _, document = await api.change("POST", _path(old, "/replacement"), {"node_id": new})
        talk(state(document))
        return await _until_removed(api, old, document) if wait else document


async def _until_removed(api: Api, name: str, begun: Document) -> Document:
    """Wait until it has no replicas and does not belong to the cluster any more."""
    document = begun
    try:
        if not document["done"]:
            document = await stay(api, _path(name, "/drain"), begun)
        while True:
            await api.get(_path(name, "/drain"))
            await asyncio.sleep(0.1)
    except NotFound:
        return {**document, "replicas": 0, "moving": 0, "preferred": 0, "done": True}


def _talk_removal(plan: Document) -> None:
    """Print the partitions that would have too few replicas, and those that block the removal."""
    name, blocked, too_few = plan["node_id"], plan["blocked"], plan["too_few"]
    if blocked:
        talk(
            f"{name} cannot be removed: {len(blocked)} partitions could lose records, or could not be served:"
        )
        for part in blocked[:NAMED_MAX]:
            talk(f"  {part['topic']}/{part['partition']}: {part['reason']}")
        _talk_more(len(blocked))
        raise Failure(f"nothing was changed; {name} stays in the cluster", exit_code=CONFLICT)
    if too_few:
        talk(f"without {name} {len(too_few)} partitions have too few replicas:")
        for part in too_few[:NAMED_MAX]:
            left, factor = part["left"], part["replication_factor"]
            talk(f"  {part['topic']}/{part['partition']}: {len(left)} of {factor} ({', '.join(left)})")
        _talk_more(len(too_few))
    others = plan["replicas"] - len(too_few)
    if others:
        talk(f"the other {others} partitions of {name} move to other nodes first")


def _talk_more(count: int) -> None:
    if count > NAMED_MAX:
        talk(f"  and {count - NAMED_MAX} more")
