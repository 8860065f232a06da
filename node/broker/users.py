"""Users and their tokens."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from node.metadata.state import Verifier


class TokenKind(enum.StrEnum):
    """How a token came to be."""

    TOKEN = "token"  # noqa: S105 - not a secret
    """It was created as such."""
    LOGIN = "login"
    """A password was exchanged for it; it is short-lived."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """One user."""

    user: str
    created_ms: int
    """Unix milliseconds, as all times here."""
    administrator: bool
    """Whether it may do everything."""
    has_password: bool
    tokens: int
    """How many it has that are valid, those of logins included."""


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """One token, without its secret."""

    id: str
    user: str
    kind: TokenKind
    created_ms: int
    expires_ms: int | None
    """None: never."""
    last_characters: str
    """Of the secret."""


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new token. Its secret is in ``token`` and nowhere else."""

    token: str
    id: str
    user: str
    kind: TokenKind
    created_ms: int
    expires_ms: int | None
    last_characters: str


class UserAdmin(Protocol):
    """Changes work only where ``metadata.leads_here``; they raise Unavailable, OutcomeUnknown besides."""

    def page(self, *, prefix: str, after: str, limit: int) -> list[UserInfo]:
        """Users in order of name."""

    def show(self, user: str) -> UserInfo:
        """Raises NotFound."""

    def is_administrator(self, user: str) -> bool:
        """Whether the user may do everything."""

    def tokens(self, user: str) -> list[TokenInfo]:
        """The user's valid tokens, the oldest first. Raises NotFound."""

    def verifiers(self, user: str) -> Sequence[Verifier]:
        """What checks the user's password; empty without one, and for a user that does not exist."""

    async def create(
        self, user: str, verifiers: Sequence[Verifier], *, administrator: bool, timeout_s: float
    ) -> UserInfo:
        """Raises Conflict, InvalidRequest."""

    async def delete(self, user: str, *, timeout_s: float) -> None:
        """Raises NotFound, Conflict (the only administrator)."""

    async def set_password(self, user: str, verifiers: Sequence[Verifier], *, timeout_s: float) -> UserInfo:
        """Without ``verifiers`` the user has no password any more. Raises NotFound."""

    async def set_administrator(self, user: str, *, administrator: bool, timeout_s: float) -> UserInfo:
        """Raises NotFound, Conflict (the only administrator)."""

    async def create_token(self, user: str, *, lifetime_ms: int | None, timeout_s: float) -> CreatedToken:
        """Raises NotFound, Conflict (there are two valid ones)."""

    async def create_login(self, user: str, salt: bytes, *, timeout_s: float) -> CreatedToken:
        """A token for whoever knew the password with this salt. Raises Unauthorized if it was changed."""

    async def revoke_token(self, user: str, token_id: str, *, timeout_s: float) -> None:
        """Raises NotFound."""

    async def reset_administrator(
        self, user: str, token_id: str, digest: bytes, last_characters: str, *, timeout_s: float
    ) -> None:
        """``user`` is an administrator with this token and no other credential; made if it is not there."""
