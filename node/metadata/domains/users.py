"""Who uses the cluster: users, their passwords, and which of them are administrators.

Nothing here has a password: ``Verifier`` tells whether one is right. A password's change ends what was got
with the earlier one. There is always an administrator once there was one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound

from node.metadata.command import Command, command_type
from node.metadata.edit import Edit
from node.metadata.levels import SECURITY, below_level
from node.metadata.state import Applied, MetadataState, TokenEntry, UserEntry, Verifier

USERS_MAX: Final = 10_000
VERIFIERS_MAX: Final = 2
ANONYMOUS: Final = "anonymous"
"""Whoever has not said who it is: never a user's name."""
_PRINCIPAL: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9._@-]{1,64}", re.ASCII)


class CreateUser(Command, frozen=True, tag="create_user"):
    """Somebody new. ``now_ms``: when that was."""

    name: str
    now_ms: int
    verifiers: tuple[Verifier, ...] = ()


class DeleteUser(Command, frozen=True, tag="delete_user"):
    """A user goes, and its tokens with it."""

    name: str


class SetPassword(Command, frozen=True, tag="set_password"):
    """Another password, or none without ``verifiers``."""

    name: str
    verifiers: tuple[Verifier, ...]


class MakeAdministrator(Command, frozen=True, tag="make_administrator"):
    """A user may do everything from now on."""

    name: str


class UnmakeAdministrator(Command, frozen=True, tag="unmake_administrator"):
    """A user is one like the others."""

    name: str


class BootstrapAdministrator(Command, frozen=True, tag="bootstrap_administrator"):
    """The cluster's first administrator and its token, if there is none yet."""

    token: TokenEntry


class ResetAdministrator(Command, frozen=True, tag="reset_administrator"):
    """Whoever has a node's disk gets in again: an administrator with this token and no other credential."""

    token: TokenEntry


def is_principal(name: str) -> bool:
    """Whether somebody may be called so."""
    return _PRINCIPAL.fullmatch(name) is not None and name != ANONYMOUS


def check_principal(name: str) -> FloodmarkError | None:
    """Why nobody may be called so; None where somebody may."""
    if is_principal(name):
        return None
    return InvalidRequest(
        f"{name[:80]!r} is not a user's name: 1 to 64 of A-Z, a-z, 0-9, '.', '_', '@', '-', not only dots, "
        f"and not {ANONYMOUS!r}"
    )


def unknown_user(name: str) -> NotFound:
    """There is none of this name."""
    return NotFound(f"there is no user {name[:80]}", user=name[:80])


def create_user(edit: Edit, command: CreateUser) -> Applied:
    """The user."""
    state, name = edit.state, command.name
    if refused := (below_level(state.level, SECURITY) or check_principal(name)):
        return refused
    if name in state.users:
        return Conflict(f"there is a user {name} already", user=name)
    if len(state.users) >= USERS_MAX:
        return Conflict(f"the cluster has {USERS_MAX} users, and takes no more")
    if refused := _check_verifiers(command.verifiers):
        return refused
    return _put_user(state, UserEntry(name, command.now_ms, command.verifiers))


def delete_user(edit: Edit, command: DeleteUser) -> Applied:
    """What the user was. What it was allowed to do goes with it; what it was forbidden stays forbidden."""
    state, name = edit.state, command.name
    gone = state.users.get(name)
    if gone is None:
        return unknown_user(name)
    if refused := _only_administrator(state, name):
        return refused
    state.users = {other: user for other, user in state.users.items() if other != name}
    _remove_administrator(state, name)
    drop_tokens(state, lambda token: token.user == name)
    left = tuple(entry for entry in state.acls if entry.principal != name or not entry.allow)
    if len(left) < len(state.acls):
        state.acls = left
    return gone


def set_password(edit: Edit, command: SetPassword) -> Applied:
    """The user as it is now. What somebody got by the password before is of no use any more."""
    state, name = edit.state, command.name
    user = state.users.get(name)
    if user is None:
        return unknown_user(name)
    if refused := _check_verifiers(command.verifiers):
        return refused
    drop_tokens(state, lambda token: token.user == name and token.is_login)
    return _put_user(state, msgspec.structs.replace(user, verifiers=command.verifiers))


def make_administrator(edit: Edit, command: MakeAdministrator) -> Applied:
    """The user. Only who is a user can be one: a slip in a name gives nobody everything."""
    state = edit.state
    user = state.users.get(command.name)
    if user is None:
        return unknown_user(command.name)
    _add_administrator(state, command.name)
    return user


def unmake_administrator(edit: Edit, command: UnmakeAdministrator) -> Applied:
    """The user, who may be none any more by now."""
    state, name = edit.state, command.name
    user = state.users.get(name)
    if user is None:
        return unknown_user(name)
    if refused := _only_administrator(state, name):
        return refused
    _remove_administrator(state, name)
    return user


def bootstrap_administrator(edit: Edit, command: BootstrapAdministrator) -> Applied:
    """The token. Of several that are proposed at the same time one comes to pass."""
    state, token = edit.state, command.token
    if refused := (below_level(state.level, SECURITY) or check_principal(token.user)):
        return refused
    if state.administrators:
        return Conflict(f"the cluster has an administrator already: {state.administrators[0]}")
    return _give_everything(state, token)


def reset_administrator(edit: Edit, command: ResetAdministrator) -> Applied:
    """The token. Proposed again after its answer was lost, it changes nothing."""
    state, token = edit.state, command.token
    if refused := (below_level(state.level, SECURITY) or check_principal(token.user)):
        return refused
    if state.tokens.get(token.token_id) == token:
        return token
    user = state.users.get(token.user)
    if user is not None:
        _put_user(state, msgspec.structs.replace(user, verifiers=()))
    drop_tokens(state, lambda other: other.user == token.user)
    return _give_everything(state, token)


def _give_everything(state: MetadataState, token: TokenEntry) -> TokenEntry | FloodmarkError:
    if token.user not in state.users:
        _put_user(state, UserEntry(token.user, token.created_ms))
    _add_administrator(state, token.user)
    state.tokens = {**state.tokens, token.token_id: token}
    return token


def drop_tokens(state: MetadataState, is_meant: Callable[[TokenEntry], bool]) -> None:
    """Those that ``is_meant`` says; where there is none, nothing is another one."""
    left = {token_id: token for token_id, token in state.tokens.items() if not is_meant(token)}
    if len(left) < len(state.tokens):
        state.tokens = left


def _put_user(state: MetadataState, user: UserEntry) -> UserEntry:
    state.users = {**state.users, user.name: user}
    return user


def _add_administrator(state: MetadataState, name: str) -> None:
    state.administrators = tuple(sorted({*state.administrators, name}))


def _remove_administrator(state: MetadataState, name: str) -> None:
    state.administrators = tuple(other for other in state.administrators if other != name)


def _only_administrator(state: MetadataState, name: str) -> FloodmarkError | None:
    if state.administrators != (name,):
        return None
    return Conflict(f"{name} is the cluster's only administrator: make another one first", user=name)


def _check_verifiers(verifiers: tuple[Verifier, ...]) -> FloodmarkError | None:
    if len({verifier.mechanism for verifier in verifiers}) < len(verifiers):
        return InvalidRequest("a mechanism is named twice")
    return None if len(verifiers) <= VERIFIERS_MAX else InvalidRequest("too many mechanisms")


COMMANDS: Final = dict(
    [
        command_type(CreateUser, create_user, level=SECURITY),
        command_type(DeleteUser, delete_user, level=SECURITY),
        command_type(SetPassword, set_password, level=SECURITY),
        command_type(MakeAdministrator, make_administrator, level=SECURITY),
        command_type(UnmakeAdministrator, unmake_administrator, level=SECURITY),
        command_type(BootstrapAdministrator, bootstrap_administrator, level=SECURITY),
        command_type(ResetAdministrator, reset_administrator, level=SECURITY),
    ]
)
