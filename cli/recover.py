"""``floodmark recover``: continue with the nodes that are left when a majority is lost for good."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console

from cli.exits import CONFLICT, ERROR, Failure
from cli.output import Column, Item, View, field, output_option, show
from cli.session import debug_option, talk
from local.private import private
from node.membership.identity import IdentityProblem
from node.recovery import offline
from node.recovery.errors import NotRecoverable
from storage.errors import StorageError

_FILE = click.Path(dir_okay=False)
_FOLDER = click.Path(exists=True, file_okay=False)


def _held(group: Item) -> str:
    """What each node holds of a group, one line per node."""
    return "\n".join(map(_replica, group["replicas"])) or "-"


def _replica(replica: Item) -> str:
    if not replica["usable"]:
        return f"{replica['node']}: cannot be used"
    offsets = f"{replica['start_offset']}..{replica['next_offset']}"
    marks = [
        text
        for is_so, text in ((not replica["may_vote"], "had lost data"), (replica["damage"], "damaged"))
        if is_so
    ]
    marked = f" ({', '.join(marks)})" if marks else ""
    return f"{replica['node']}: term {replica['term']}, index {replica['index']}, offsets {offsets}{marked}"


_PLAN = View(
    columns=(
        field("Topic"),
        field("Partition", right=True),
        Column("What there is", _held),
        Column("Goes on from", lambda group: group["chosen"]),
        field("Loss"),
        Column("What may be lost", lambda group: group["text"]),
        field("Group", right=True, wide=True),
        field("Others", wide=True),
    ),
    name=lambda group: str(group["group"]),
    items=lambda document: document["groups"],
)
_SURVEYED = View(columns=(field("File"),), name=lambda item: str(item["file"]), items=lambda item: [item])
_APPLIED = View(
    columns=(field("Folder"), field("Written")),
    name=lambda item: str(item["folder"]),
    items=lambda document: document["folders"],
)
_RESET = View(
    columns=(field("User"), field("Token")),
    name=lambda item: str(item["token"]),
    items=lambda item: [item],
)


@click.group()
def recover() -> None:
    """Continue with the nodes that are left when a majority is lost for good.

    Use this only if their disks are really gone: acknowledged records that only they had are lost. Stop all
    nodes that are left, make a survey of each data folder and a plan from all surveys, read what it says is
    lost, and write it into each of the folders. docs/OPERATIONS.md has the steps.
    """


@recover.command("survey")
@click.argument("folder", metavar="DATA_DIR", type=_FOLDER)
@click.option(
    "--to",
    "path",
    metavar="FILE",
    type=_FILE,
    required=True,
    help="File to write the survey to; - is stdout.",
)
@output_option(default=None)
@debug_option
def survey(folder: str, *, path: str, output: str | None) -> None:
    """Write a summary of a stopped node's data folder into a small file. The folder is not changed.

    The file holds indexes, offsets and the cluster's description, but no records. Every frame is read, as by
    'floodmark verify'.
    """
    with _told(), Console(stderr=True).status("reading") as status:
        content = offline.survey(folder, status.update)
    if path == "-":
        click.echo(content, nl=False)
    else:
        _write(path, content)
    talk(f"surveyed {folder} into {'stdout' if path == '-' else path}; the folder was not changed")
    show({"file": path}, _SURVEYED, output)


@recover.command("plan")
@click.argument(
    "sources", metavar="SURVEY_OR_DATA_DIR...", nargs=-1, required=True, type=click.Path(exists=True)
)
@click.option("--to", "path", metavar="FILE", type=_FILE, help="Write the plan into this file.")
@output_option()
@debug_option
def plan(sources: tuple[str, ...], *, path: str | None, output: str | None) -> None:
    """Show what the remaining nodes hold, where each partition would continue, and what may be lost.

    Give the surveys, or the data folders, of ALL nodes that are left: all other nodes count as lost for
    good, and are refused from then on. Nothing is changed; --to writes the plan into a file, for
    'floodmark recover apply'.
    """
    with _told(), Console(stderr=True).status("reading") as status:
        content, document = offline.plan(sources, status.update)
    show(document, _PLAN, output)
    talk(f"left: {', '.join(document['nodes'])}; lost for good: {', '.join(document['lost'])}")
    if document["untouched"]:
        talk(f"{document['untouched']} partitions had no replica on a lost node, and stay as they are")
    if path is None:
        talk("nothing was changed; --to FILE saves this plan")
        return
    _write(path, content)
    talk(f"the plan is in {path}; nothing was changed. Next: 'floodmark recover apply {path} DATA_DIR --yes'")


@recover.command("apply")
@click.argument("plan_file", metavar="PLAN", type=click.File("rb"))
@click.argument("folders", metavar="DATA_DIR...", nargs=-1, required=True, type=_FOLDER)
@click.option("--yes", is_flag=True, help="Really write. This cannot be undone.")
@output_option(default=None)
@debug_option
def apply(plan_file: BinaryIO, folders: tuple[str, ...], *, yes: bool, output: str | None) -> None:
    """Write a plan into the data folders that it was made for. Without --yes only check that it can be done.

    PLAN is the plan's file, - is stdin. Run it on every node of the plan before any of them is started. If
    it was interrupted, run it again: until it is done no node starts on the folder. A folder in which
    everything is written already stays as it is.
    """
    with _told():
        made = offline.read_plan(plan_file.read(), plan_file.name)
        pending = [folder for folder in folders if offline.check(made, folder)]
    for folder in folders:
        if folder not in pending:
            talk(f"{folder}: everything is written already")
    if pending and not yes:
        raise Failure(
            f"{', '.join(pending)}: nothing was written",
            exit_code=CONFLICT,
            hint=f"add --yes to write it; then {', '.join(made.lost)} are refused, whatever they hold",
        )
    for folder in pending:
        with _told(), Console(stderr=True).status("writing") as status:
            for step in offline.apply(made, folder):
                status.update(f"{folder}: {step}")
        talk(f"{folder}: recovered to cluster epoch {made.epoch}")
    show({"folders": [{"folder": f, "written": f in pending} for f in folders]}, _APPLIED, output)


@recover.command("administrator")
@click.argument("folder", metavar="DATA_DIR", type=_FOLDER)
@click.option("--user", default="admin", show_default=True, help="Who is to be an administrator.")
@output_option(default=None)
@debug_option
def administrator(folder: str, *, user: str, output: str | None) -> None:
    """Get in again when every administrator's token is lost: with the disk of one node, which is stopped.

    Prints a token. When the node starts again, the cluster makes USER an administrator with this token;
    its password and its other tokens are gone. Other users stay as they are.
    """
    with _told():
        token = offline.reset_administrator(folder, user)
    talk(f"start the node of {folder}: then {user} is an administrator with this token, which is shown once")
    if output is None:
        click.echo(token)
    show({"user": user, "token": token}, _RESET, output)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn errors of a recovery into failures of the command."""
    try:
        yield
    except NotRecoverable as error:
        raise Failure(str(error), exit_code=CONFLICT) from error
    except (IdentityProblem, StorageError) as error:
        raise Failure(str(error), exit_code=ERROR) from error


def _write(path: str, content: bytes) -> None:
    """Write durably, readable by the owner only: the file tells about the cluster."""
    temporary = Path(f"{path}.tmp")
    with open(temporary, "wb", opener=private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
