"""``floodmark node remove`` and ``floodmark node replace``: nodes that go for good."""

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
from cli.session import Session, cluster_options, confirm, run, talk

NAMED_MAX: Final = 20
REMOVED = View(columns=(field("Node", "node_id"),), name=DRAIN.name, items=lambda document: [document])


@click.command("remove")
@click.argument("name", metavar="NODE")
@click.option("--force", is_flag=True, help="Also where data are left with fewer replicas than they should.")
@click.option("--no-wait", is_flag=True, help="With --force: do not stay until it is done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def remove(session: Session, name: str, *, force: bool, no_wait: bool, yes: bool, output: str | None) -> None:
    """Take a node out of the cluster for good: its id never returns.

    Refused while it has replicas: drain it first, which works for a dead node as well. With --force the
    partitions that find no other place have fewer replicas than they should; these are named before you are
    asked. Refused all the same where records would be lost. A node that runs says that it was removed, and
    may be stopped.
    """
    if force:
        _talk_removal(run(_removal(session.url(), name)))
    confirm(f"Remove {name}? Its id can never be used again.", yes=yes)
    document = run(_remove(session.url(), name, force=force, wait=not no_wait))
    if not document["done"]:
        show(document, DRAIN, output)
        return
    talk(f"removed node {name}")
    show({"node_id": name}, REMOVED, output)


@click.command("replace")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--no-wait", is_flag=True, help="Do not stay until it is done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def replace(session: Session, old: str, new: str, *, no_wait: bool, yes: bool, output: str | None) -> None:
    """Have NEW, which has joined, take the place of the dead node OLD, which is then removed for good.

    Stays until NEW has all that OLD had, and tells how far it is. Ctrl-C ends the waiting, and it goes on;
    the same command waits again, and `node drain OLD --undo` gives it up. A machine that comes back under its
    own name needs none of this: start it.
    """
    confirm(f"Replace {old} by {new}? The id {old} can never be used again.", yes=yes)
    document = run(_replace(session.url(), old, new, wait=not no_wait))
    if document["done"]:
        talk(f"{new} has taken the place of {old}, which is removed")
    show(document, DRAIN, output)


def _path(name: str, rest: str = "") -> str:
    return f"/v1/nodes/{quote(name, safe='')}{rest}"


async def _removal(url: str, name: str) -> Document:
    async with Api(url) as api:
        return await api.get(_path(name, "/removal"))


async def _remove(url: str, name: str, *, force: bool, wait: bool) -> Document:
    async with Api(url) as api:
        if not force:
            await api.change("DELETE", _path(name))
            return {"done": True}
        _, document = await api.change("DELETE", _path(name), force="true")
        talk(state(document))
        return await _until_removed(api, name, document) if wait else document


async def _replace(url: str, old: str, new: str, *, wait: bool) -> Document:
    async with Api(url) as api:
        _, document = await api.change("POST", _path(old, "/replacement"), {"node_id": new})
        talk(state(document))
        return await _until_removed(api, old, document) if wait else document


async def _until_removed(api: Api, name: str, begun: Document) -> Document:
    """Until it has nothing, and is no node of the cluster any more."""
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
    """What falls below its factor, and what cannot go at all."""
    name, blocked, too_few = plan["node_id"], plan["blocked"], plan["too_few"]
    if blocked:
        talk(f"{name} cannot go: of {len(blocked)} partitions records could be lost, or not be served:")
        for part in blocked[:NAMED_MAX]:
            talk(f"  {part['topic']}/{part['partition']}: {part['reason']}")
        _talk_more(len(blocked))
        raise Failure(f"nothing was changed; {name} is a node as before", exit_code=CONFLICT)
    if too_few:
        talk(f"without {name} {len(too_few)} partitions have fewer replicas than they should:")
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
