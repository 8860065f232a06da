"""Tokens of users: added and revoked. The state has a token's digest and never its secret.

A user has few at a time, so what leaked is found and old ones do not pile up: expired ones go when another
one comes.
"""

from __future__ import annotations

from typing import Final

from floodmark.errors import Conflict, NotFound

from node.metadata.command import Command, command_type
from node.metadata.domains.users import drop_tokens, unknown_user
from node.metadata.edit import Edit
from node.metadata.levels import SECURITY, below_level
from node.metadata.state import Applied, TokenEntry

TOKENS_MAX: Final = 2
"""Valid ones of a user at a time: the one in use, and the one that takes its place."""
LOGINS_MAX: Final = 10
"""Likewise tokens of its log-ins; for one more the oldest goes."""


class AddToken(Command, frozen=True, tag="add_token"):
    """One more token for a user. Its ``created_ms`` is when this was proposed."""

    token: TokenEntry


class RevokeToken(Command, frozen=True, tag="revoke_token"):
    """A token is of no use any more."""

    user: str
    token_id: str


def add_token(edit: Edit, command: AddToken) -> Applied:
    """The token."""
    state, token = edit.state, command.token
    if refused := below_level(state.level, SECURITY):
        return refused
    if token.user not in state.users:
        return unknown_user(token.user)
    if token.token_id in state.tokens:
        return Conflict(f"there is a token {token.token_id} already")
    kept = {
        token_id: other
        for token_id, other in state.tokens.items()
        if other.user != token.user or other.is_valid(token.created_ms)
    }
    alike = [
        other for other in kept.values() if other.user == token.user and other.is_login == token.is_login
    ]
    if not token.is_login and len(alike) >= TOKENS_MAX:
        named = " or ".join(f"{other.token_id} (which ends with {other.last_characters})" for other in alike)
        return Conflict(
            f"{token.user} has {len(alike)} valid tokens already: revoke {named} first", user=token.user
        )
    if token.is_login:
        alike.sort(key=lambda other: (other.created_ms, other.token_id))
        for oldest in alike[: max(0, len(alike) - LOGINS_MAX + 1)]:
            del kept[oldest.token_id]
    state.tokens = {**kept, token.token_id: token}
    return token


def revoke_token(edit: Edit, command: RevokeToken) -> Applied:
    """What the token was."""
    token = edit.state.tokens.get(command.token_id)
    if token is None or token.user != command.user:
        name = command.token_id[:80]
        return NotFound(f"{command.user[:80]} has no token {name}", token=name)
    drop_tokens(edit.state, lambda other: other.token_id == command.token_id)
    return token


COMMANDS: Final = dict(
    [
        command_type(AddToken, add_token, level=SECURITY),
        command_type(RevokeToken, revoke_token, level=SECURITY),
    ]
)
