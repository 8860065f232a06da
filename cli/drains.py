"""``floodmark node drain``: move all replicas and leaderships away from a node."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import quote

import click

from cli.api import Api, Document
from cli.exits import CONFLICT, Failure
from cli.output import View, field, output_option, show
from cli.session import Session, Target, cluster_options, run, talk

LOOK_S: Final = 1.0

DRAIN = View(
    columns=(
        field("Node", "node_id"),
        field("Draining"),
        field("Replicas", right=True),
        field("Moving", right=True),
        field("Preferred", right=True, wide=True),
        field("Done"),
    ),
    name=lambda drain: str(drain["node_id"]),
    items=lambda document: [document],
)


@click.command("drain")
@click.argument("name", metavar="NODE")
@click.option(
    "--undo",
    is_flag=True,
    help="Undo the drain: moves under way are undone, and the node may get replicas again.",
)
@click.option("--status", is_flag=True, help="Only show the progress.")
@click.option("--no-wait", is_flag=True, help="Return at once instead of waiting until it is done.")
@output_option(default=None)
@cluster_options
@click.pass_obj
def drain(
    session: Session, name: str, *, undo: bool, status: bool, no_wait: bool, output: str | None
) -> None:
    """Move all replicas and leaderships away from a node, while they are written and read.

    Waits until it is done, and shows the progress. Ctrl-C ends only the waiting, and the drain goes on; run
    the command again to wait again. The node gets no replicas until --undo.
    """
    document = run(_drain(session.target(), name, undo=undo, status=status, wait=not no_wait))
    show(document, DRAIN, output)


async def _drain(server: Target, name: str, *, undo: bool, status: bool, wait: bool) -> Document:
    path = f"/v1/nodes/{quote(name, safe='')}/drain"
    async with Api(server) as api:
        if status:
            document = await api.get(path)
            talk(state(document))
            return document
        if undo:
            _, document = await api.change("DELETE", path)
            talk(f"{name} is not drained; it has {document['replicas']} replicas")
            return document
        _, document = await api.change("POST", path)
        talk(state(document))
        return await stay(api, path, document) if wait else document


async def stay(api: Api, path: str, begun: Document) -> Document:
    """Wait until it is done; prints each change, and an estimate of the time left."""
    started, told, waits = time.monotonic(), begun["replicas"], begun["waiting_for"]
    document = begun
    while not document["done"]:
        await asyncio.sleep(LOOK_S)
        document = await api.get(path)
        if not document["draining"]:
            raise Failure(
                f"the drain of {document['node_id']} was undone by another command", exit_code=CONFLICT
            )
        if document["replicas"] != told:
            told = document["replicas"]
            left = estimate_s(begun["replicas"], told, time.monotonic() - started)
            talk(state(document) + (f"; about {left:.0f} s left" if left else ""))
        if document["waiting_for"] and document["waiting_for"] == waits:
            talk(f"no replica can move at the moment: {'; '.join(waits)}")
            waits = None
        elif waits is not None:
            waits = document["waiting_for"]
    return document


def estimate_s(at_first: int, left: int, seconds: float) -> float:
    """Seconds left at the pace so far; 0 if it is not known yet."""
    done = at_first - left
    return seconds / done * left if done > 0 else 0.0


def state(drain: Document) -> str:
    """In words."""
    node = drain["node_id"]
    if not drain["draining"]:
        return f"{node} is not drained; it has {drain['replicas']} replicas"
    if drain["done"] and drain["removing"]:
        return f"{node} has no replicas any more, and is removed"
    if drain["done"]:
        return f"{node} is drained: it has no replicas, and gets no new ones"
    what = "removed" if drain["removing"] else "drained"
    if heir := drain["replaced_by"]:
        what = f"replaced by {heir}"
    return f"{node} is being {what}: {drain['replicas']} replicas left, {drain['moving']} of them moving"
