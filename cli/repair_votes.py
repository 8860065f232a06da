"""``floodmark repair-votes``: bring a stopped node's terms back into their range."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator

import click

from cli.exits import CONFLICT, ERROR, NOT_FOUND, Failure
from cli.output import View, field, output_option, show
from cli.session import debug_option
from storage.filesystem import RealFileSystem
from storage.vote_repair import NotRepairable
from storage.vote_repair import repair_votes as repair_folder

_VIEW = View(
    columns=(
        field("Path"),
        field("Term before", "term_before", right=True),
        field("Term", right=True),
    ),
    name=lambda replica: str(replica["path"]),
    items=lambda document: document["replicas"],
)


@click.command("repair-votes")
@click.argument("folder", metavar="DATA_DIR", type=click.Path(exists=True, file_okay=False))
@output_option()
@debug_option
def repair_votes(folder: str, *, output: str | None) -> None:
    """Bring the terms of a stopped node's replicas back into their range.

    For a cluster whose nodes say that a vote file's term is above its range, or refuse each other's terms
    ('term_refused' in the log). Stop ALL nodes, run this on the data folder of EVERY node, then start them:
    a node that is left out cannot take part any more. Records, offsets and settings do not change.
    """
    with _stopped(folder):
        try:
            repaired = list(repair_folder(RealFileSystem(), folder))
        except NotRepairable as error:
            raise Failure(f"{error}; nothing was changed", exit_code=ERROR) from error
    if not repaired:
        raise Failure(f"{folder}: no replicas found", exit_code=NOT_FOUND)
    show({"replicas": [dataclasses.asdict(each) for each in repaired]}, _VIEW, output)


@contextlib.contextmanager
def _stopped(folder: str) -> Iterator[None]:
    """Hold the folder's lock, as its node does while it runs."""
    lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "stop all nodes of the cluster first"
            raise Failure(f"{folder}: its node is running", exit_code=CONFLICT, hint=hint) from error
        yield
    finally:
        os.close(lock)
