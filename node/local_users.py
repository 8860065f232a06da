"""Users and tokens as this node's metadata have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from floodmark.errors import Unauthorized

from node.broker import CreatedToken, TokenInfo, TokenKind, UserInfo
from node.metadata.command import Command
from node.metadata.domains.tokens import AddToken, RevokeToken
from node.metadata.domains.users import (
    CreateUser,
    DeleteUser,
    MakeAdministrator,
    ResetAdministrator,
    SetPassword,
    UnmakeAdministrator,
    unknown_user,
)
from node.metadata.state import Applied, MetadataState, TokenEntry, UserEntry, Verifier
from node.security.tokens import LAST_CHARACTERS, new_token

LOGIN_MS: Final = 12 * 3_600_000
"""How long the token of a login is valid."""


class _Metadata(Protocol):
    @property
    def state(self) -> MetadataState: ...

    async def propose(self, command: Command, *, timeout_s: float) -> Applied: ...


class LocalUsers:
    """Implements ``node.broker.UserAdmin``. ``wall_ms``: this node's clock."""

    def __init__(self, metadata: _Metadata, wall_ms: Callable[[], int]) -> None:
        self._metadata = metadata
        self._wall_ms = wall_ms

    def page(self, *, prefix: str, after: str, limit: int) -> list[UserInfo]:
        """See ``UserAdmin``."""
        users = self._metadata.state.users
        names = sorted(name for name in users if name.startswith(prefix) and name > after)[:limit]
        return [self._shown(users[name]) for name in names]

    def show(self, user: str) -> UserInfo:
        """See ``UserAdmin``."""
        return self._shown(self._entry(user))

    def is_administrator(self, user: str) -> bool:
        """See ``UserAdmin``."""
        return user in self._metadata.state.administrators

    def tokens(self, user: str) -> list[TokenInfo]:
        """See ``UserAdmin``."""
        self._entry(user)
        return [_token(entry) for entry in self._valid_tokens(user)]

    def verifiers(self, user: str) -> Sequence[Verifier]:
        """See ``UserAdmin``."""
        entry = self._metadata.state.users.get(user)
        return () if entry is None else entry.verifiers

    async def create(
        self, user: str, verifiers: Sequence[Verifier], *, administrator: bool, timeout_s: float
    ) -> UserInfo:
        """See ``UserAdmin``."""
        command = CreateUser(user, self._wall_ms(), tuple(verifiers))
        await self._metadata.propose(command, timeout_s=timeout_s)
        if administrator:
            await self._metadata.propose(MakeAdministrator(user), timeout_s=timeout_s)
        return self.show(user)

    async def delete(self, user: str, *, timeout_s: float) -> None:
        """See ``UserAdmin``."""
        await self._metadata.propose(DeleteUser(user), timeout_s=timeout_s)

    async def set_password(self, user: str, verifiers: Sequence[Verifier], *, timeout_s: float) -> UserInfo:
        """See ``UserAdmin``."""
        await self._metadata.propose(SetPassword(user, tuple(verifiers)), timeout_s=timeout_s)
        return self.show(user)

    async def set_administrator(self, user: str, *, administrator: bool, timeout_s: float) -> UserInfo:
        """See ``UserAdmin``."""
        command = MakeAdministrator(user) if administrator else UnmakeAdministrator(user)
        await self._metadata.propose(command, timeout_s=timeout_s)
        return self.show(user)

    async def create_token(self, user: str, *, lifetime_ms: int | None, timeout_s: float) -> CreatedToken:
        """See ``UserAdmin``."""
        return await self._add(user, lifetime_ms, is_login=False, timeout_s=timeout_s)

    async def create_login(self, user: str, salt: bytes, *, timeout_s: float) -> CreatedToken:
        """See ``UserAdmin``."""
        if salt not in {verifier.salt for verifier in self.verifiers(user)}:
            raise Unauthorized("the password was changed a moment ago: log in again")
        return await self._add(user, LOGIN_MS, is_login=True, timeout_s=timeout_s)

    async def _add(
        self, user: str, lifetime_ms: int | None, *, is_login: bool, timeout_s: float
    ) -> CreatedToken:
        token, now = new_token(), self._wall_ms()
        entry = TokenEntry(
            token.token_id,
            user,
            token.digest,
            now,
            0 if lifetime_ms is None else now + lifetime_ms,
            token.secret[-LAST_CHARACTERS:],
            is_login,
        )
        await self._metadata.propose(AddToken(entry), timeout_s=timeout_s)
        shown = _token(entry)
        return CreatedToken(
            token.text,
            shown.id,
            shown.user,
            shown.kind,
            shown.created_ms,
            shown.expires_ms,
            shown.last_characters,
        )

    async def revoke_token(self, user: str, token_id: str, *, timeout_s: float) -> None:
        """See ``UserAdmin``."""
        await self._metadata.propose(RevokeToken(user, token_id), timeout_s=timeout_s)

    async def reset_administrator(
        self, user: str, token_id: str, digest: bytes, last_characters: str, *, timeout_s: float
    ) -> None:
        """See ``UserAdmin``."""
        known = self._metadata.state.tokens.get(token_id)
        # Asked again after its answer was lost it is the same entry, of the same time.
        now = self._wall_ms() if known is None else known.created_ms
        entry = TokenEntry(token_id, user, digest, now, 0, last_characters)
        await self._metadata.propose(ResetAdministrator(entry), timeout_s=timeout_s)

    def _entry(self, user: str) -> UserEntry:
        entry = self._metadata.state.users.get(user)
        if entry is None:
            raise unknown_user(user)
        return entry

    def _valid_tokens(self, user: str) -> list[TokenEntry]:
        now = self._wall_ms()
        found = [
            entry
            for entry in self._metadata.state.tokens.values()
            if entry.user == user and entry.is_valid(now)
        ]
        return sorted(found, key=lambda entry: (entry.created_ms, entry.token_id))

    def _shown(self, entry: UserEntry) -> UserInfo:
        name = entry.name
        return UserInfo(
            name,
            entry.created_ms,
            name in self._metadata.state.administrators,
            bool(entry.verifiers),
            len(self._valid_tokens(name)),
        )


def _token(entry: TokenEntry) -> TokenInfo:
    return TokenInfo(
        entry.token_id,
        entry.user,
        TokenKind.LOGIN if entry.is_login else TokenKind.TOKEN,
        entry.created_ms,
        entry.expires_ms or None,
        entry.last_characters,
    )
