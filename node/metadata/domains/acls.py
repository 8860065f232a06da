"""Who may do what: entries are added and removed, and an entry is there once or not at all.

What an entry may say is fixed for each feature level: a node of a build that did not know an operation would
take a denial of it for nothing. Another kind, pattern or operation needs a level of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from floodmark.errors import Conflict, FloodmarkError, InvalidName, InvalidRequest
from floodmark.format.names import check_name

from node.metadata.command import Command, command_type
from node.metadata.domains.users import ANONYMOUS, check_principal
from node.metadata.edit import Edit
from node.metadata.levels import QUEUES, SECURITY, below_level
from node.metadata.state import AclEntry, Applied

ACLS_MAX: Final = 10_000
"""In the whole cluster."""
ACLS_AT_ONCE_MAX: Final = 1_000
"""In one command, which is one entry of the metadata's log."""
EVERYBODY: Final = "*"
"""The principal that stands for everybody who has said who it is."""
LITERAL: Final = "literal"
PREFIX: Final = "prefix"
CLUSTER: Final = "cluster"
QUEUE: Final = "queue"
KINDS: Final = ("topic", "group", "stream", QUEUE, CLUSTER)
"""From feature level 4 on, but for queues."""
ALL: Final = "all"
OPERATIONS: Final = ("read", "write", "create", "alter", "delete", "describe", ALL)


class AddAcls(Command, frozen=True, tag="add_acls"):
    """These entries are there from now on."""

    entries: tuple[AclEntry, ...]


class RemoveAcls(Command, frozen=True, tag="remove_acls"):
    """These entries are not there any more."""

    entries: tuple[AclEntry, ...]


def check_acl(entry: AclEntry) -> FloodmarkError | None:
    """Why there can be no such entry; None where there can."""
    refused = check_members(entry.principal, entry.kind, entry.pattern, entry.operation)
    return refused or check_name_of(entry.kind, entry.name, is_prefix=entry.pattern == PREFIX)


def check_members(
    principal: str | None = None,
    kind: str | None = None,
    pattern: str | None = None,
    operation: str | None = None,
) -> FloodmarkError | None:
    """Why no entry has one of these; None where there can be one. What is None is not looked at."""
    if principal not in (None, EVERYBODY, ANONYMOUS) and (refused := check_principal(principal)):
        return InvalidRequest(
            f"{refused.detail}. In an entry {EVERYBODY!r} stands for everybody who has said who it is, and "
            f"{ANONYMOUS!r} for those who have not"
        )
    for what, given, known in (
        ("a kind of resource", kind, KINDS),
        ("an operation", operation, OPERATIONS),
        ("a pattern", pattern, (LITERAL, PREFIX)),
    ):
        if given is not None and given not in known:
            return InvalidRequest(f"{given[:80]!r} is not {what}: one of {', '.join(known)}")
    return None


def check_name_of(kind: str, name: str, *, is_prefix: bool) -> FloodmarkError | None:
    """Why no entry of this kind has this name; None where there can be one."""
    if kind == CLUSTER:
        if not name and not is_prefix:
            return None
        return InvalidRequest(f"there is one cluster: its name is empty, and its pattern {LITERAL}")
    if not name and not is_prefix:
        return InvalidRequest(f"which {kind}? With the pattern {PREFIX} an empty name is every {kind}")
    try:
        # A prefix is the beginning of a name, and may be of dots only.
        check_name(f"{name}a" if is_prefix and not name.strip(".") else name)
    except InvalidName as error:
        hint = f"; for every {kind} there is the pattern {PREFIX} and an empty name" if name == "*" else ""
        return InvalidRequest(f"{error.detail}{hint}")
    return None


def add_acls(edit: Edit, command: AddAcls) -> Applied:
    """How many of them are new."""
    state = edit.state
    needed = QUEUES if any(entry.kind == QUEUE for entry in command.entries) else SECURITY
    if refused := (below_level(state.level, needed) or _check(command.entries)):
        return refused
    known = set(state.acls)
    added = set(command.entries) - known
    if len(known) + len(added) > ACLS_MAX:
        return Conflict(
            f"the cluster has {len(known)} entries that say who may do what, and takes {ACLS_MAX}: one for a "
            f"prefix, or for {EVERYBODY!r}, can do what many do",
            limit=ACLS_MAX,
        )
    if added:
        state.acls = _in_order(known | added)
    return len(added)


def remove_acls(edit: Edit, command: RemoveAcls) -> Applied:
    """How many of them were there."""
    state = edit.state
    if refused := below_level(state.level, SECURITY):
        return refused
    left = set(state.acls) - set(command.entries)
    removed = len(state.acls) - len(left)
    if removed:
        state.acls = _in_order(left)
    return removed


def _check(entries: tuple[AclEntry, ...]) -> FloodmarkError | None:
    if len(entries) > ACLS_AT_ONCE_MAX:
        return InvalidRequest(f"at most {ACLS_AT_ONCE_MAX} entries at once, not {len(entries)}")
    return next((refused for entry in entries if (refused := check_acl(entry))), None)


def _in_order(entries: Iterable[AclEntry]) -> tuple[AclEntry, ...]:
    """By principal, so that a person reads together what belongs together; the same on every node."""
    return tuple(
        sorted(entries, key=lambda it: (it.principal, it.kind, it.name, it.pattern, it.operation, it.allow))
    )


COMMANDS: Final = dict(
    [
        command_type(AddAcls, add_acls, level=SECURITY),
        command_type(RemoveAcls, remove_acls, level=SECURITY),
    ]
)
