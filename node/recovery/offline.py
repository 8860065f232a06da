"""A recovery for the command line: folders, surveys and plans as files. Nodes must not run."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from node.administrator_files import write_reset
from node.environment import true_wall_ms
from node.membership.identity import FILE_NAME, FolderLock, IdentityProblem, load
from node.metadata.domains.users import is_principal
from node.metadata.group import SEGMENT_BYTES
from node.recovery import apply as application
from node.recovery.errors import NotRecoverable
from node.recovery.plan import PLAN_VERSION, Plan, decide
from node.recovery.report import Document, report
from node.recovery.survey import SURVEY_VERSION, Survey
from node.recovery.survey import survey as look
from storage.filesystem import RealFileSystem

_JSON: Final = msgspec.json.Encoder()

Tell = Callable[[str], None]
_T = TypeVar("_T")


def survey(folder: str, tell: Tell) -> bytes:
    """What a data folder holds, as a file. Raises ``NotRecoverable``, ``IdentityProblem``, ``OSError``."""
    return _JSON.encode(_surveyed(folder, tell))


def plan(sources: Sequence[str], tell: Tell) -> tuple[bytes, Document]:
    """The plan as a file, and what is told of it. ``sources`` are data folders, and surveys of others.

    Raises ``NotRecoverable``, ``IdentityProblem``, ``OSError``.
    """
    surveys = [
        _surveyed(source, tell)
        if Path(source).is_dir()
        else _decoded(Path(source).read_bytes(), source, Survey, "survey", SURVEY_VERSION)
        for source in sources
    ]
    decision = decide(surveys, name=secrets.token_hex(8), at_ms=true_wall_ms(), segment_bytes=SEGMENT_BYTES)
    return _JSON.encode(decision.plan), report(surveys, decision)


def read_plan(raw: bytes, name: str) -> Plan:
    """Back from the file's content. Raises ``NotRecoverable``."""
    return _decoded(raw, name, Plan, "plan", PLAN_VERSION)


def reset_administrator(folder: str, user: str) -> str:
    """The token of an administrator that is reset once the folder's node starts. Raises as ``survey``."""
    if not is_principal(user):
        raise NotRecoverable(f"{user!r} is not a user's name")
    with _stopped(folder):
        fs = RealFileSystem()
        if load(fs, folder) is None:
            raise NotRecoverable(f"{folder} is not a node's data folder: it has no {FILE_NAME}")
        return write_reset(fs, folder, user)


def check(made: Plan, folder: str) -> bool:
    """Whether something of a plan is to be written into a folder. Raises as ``survey`` does."""
    with _stopped(folder):
        return application.check(RealFileSystem(), folder, made) is not None


def apply(made: Plan, folder: str) -> Iterator[str]:
    """Write a plan into a data folder; tells each step. Raises as ``survey`` does, and ``StorageError``."""
    with _stopped(folder):
        yield from application.apply(RealFileSystem(), folder, made)


def _surveyed(folder: str, tell: Tell) -> Survey:
    # Log lines about skipped metadata commands do not belong into the output.
    with _stopped(folder), contextlib.redirect_stdout(sys.stderr):
        return look(RealFileSystem(), folder, tell=tell)


@contextlib.contextmanager
def _stopped(folder: str) -> Iterator[None]:
    """Hold the folder's lock, as a running node does."""
    identity = Path(folder, FILE_NAME)
    if not identity.exists():
        raise NotRecoverable(f"{folder} is not a node's data folder: there is no {FILE_NAME} in it")
    if identity.stat().st_uid != os.geteuid():
        owner = identity.owner()
        raise NotRecoverable(
            f"{folder} belongs to {owner}, and its node could not use files of others: run this as {owner}"
        )
    try:
        lock = FolderLock(folder)
    except IdentityProblem as error:
        raise NotRecoverable(f"{error}. All nodes have to be stopped before a recovery") from error
    try:
        yield
    finally:
        lock.release()


def _decoded(raw: bytes, path: str, kind: type[_T], what: str, version: int) -> _T:
    """A survey or a plan from its file."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(f"{what}_version")
        if found is None:
            raise NotRecoverable(f"{path} is not a {what}")
        if msgspec.json.decode(found, type=int) > version:
            raise NotRecoverable(f"{path} was made by a newer Floodmark: use the same one everywhere")
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise NotRecoverable(f"{path} is not a {what}, or damaged: {error}") from error
