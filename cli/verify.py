"""``floodmark verify``: check a data folder offline, frame by frame."""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import Any

import click
from rich.console import Console

from cli.exits import ERROR, NOT_FOUND, TOO_NEW, Failure
from cli.output import Column, View, field, output_option, show
from cli.session import debug_option, talk
from storage.compare import differences
from storage.filesystem import RealFileSystem
from storage.verify import ReplicaReport
from storage.verify import verify as verify_folder

_VIEW = View(
    columns=(
        field("Path"),
        field("Sound"),
        field("Segments", right=True),
        field("Bytes", "size_bytes", right=True),
        field("Frames", right=True),
        field("Records", right=True),
        field("Gaps", right=True, wide=True),
        Column("Offsets", lambda replica: f"{replica['start_offset']}..{replica['next_offset']}"),
        Column("Indexes", lambda replica: f"{replica['base_index']}..{replica['last_index']}", wide=True),
        field("Term", "last_term", right=True, wide=True),
        field("Checkpoint", "checkpoint_index", right=True, wide=True),
        field("Quarantined", "quarantined_files", right=True, wide=True),
        field("Digest", wide=True),
    ),
    name=lambda replica: str(replica["path"]),
    items=lambda document: document["replicas"],
)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--compare",
    is_flag=True,
    help="Also compare the replicas of each group below DIR with each other, entry by entry.",
)
@output_option()
@debug_option
def verify(folder: str, *, compare: bool, output: str | None) -> None:
    """Read every frame of every replica in and below DIR; nothing is changed. The node must not be running.

    Each finding is printed on stderr. Exit code 1 if there is damage; what a crash may leave behind, and the
    next start repairs, is not damage. Exit code 7 if nothing is damaged but something needs a newer Floodmark
    than this one. Replicas with the same indexes have the same digest (-o wide) unless they have gaps:
    --compare compares those too, and a difference is exit code 1.
    """
    reports: list[ReplicaReport] = []
    with Console(stderr=True).status("checking") as status:
        for report in verify_folder(RealFileSystem(), folder):
            reports.append(report)
            status.update(f"checked {len(reports)} replicas")
    if not reports:
        raise Failure(f"{folder}: no replicas found", exit_code=NOT_FOUND)
    for report in reports:
        for finding in report.findings:
            kind = "damage" if finding.is_damage else "too new" if finding.is_too_new else "note"
            talk(f"{kind}: {finding.path} at byte {finding.position}: {finding.what}")
    show({"replicas": [_document(report) for report in reports]}, _VIEW, output)
    different = _compare_all(reports) if compare else 0
    damaged = sum(not report.is_sound for report in reports)
    if damaged:
        raise Failure(f"{damaged} of {len(reports)} replicas are damaged", exit_code=ERROR)
    if different:
        raise Failure(f"{different} pairs of replicas differ", exit_code=ERROR)
    too_new = sum(report.is_too_new for report in reports)
    if too_new:
        what = f"{too_new} of {len(reports)} replicas need a newer Floodmark"
        raise Failure(what, exit_code=TOO_NEW, hint="this build leaves them as they are")


def _compare_all(reports: list[ReplicaReport]) -> int:
    """Print how replicas differ from the first one of their group; returns how many do."""
    firsts: dict[str, ReplicaReport] = {}
    found = 0
    for report in reports:
        if not report.is_sound or report.is_too_new:
            continue  # It was reported above.
        first = firsts.setdefault(PurePath(report.path).name, report)
        told = differences(RealFileSystem(), first.path, report.path) if first is not report else []
        for what in told:
            talk(f"difference: {report.path} and {first.path}: {what}")
        found += bool(told)
    return found


def _document(report: ReplicaReport) -> dict[str, Any]:
    return {**dataclasses.asdict(report), "sound": report.is_sound, "too_new": report.is_too_new}
