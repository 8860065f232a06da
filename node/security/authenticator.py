"""Who somebody is, by what they bring: credentials in, an identity out, or a refusal.

What was found is remembered under a digest of the header, so that a request costs a look into a table. That
is forgotten whenever users, tokens or administrators change, and is of no use while this node does not know
what the cluster has agreed on lately (``freshness.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from floodmark.errors import Unauthorized

from node.metadata.delta import MetadataDelta
from node.metadata.state import MetadataState
from node.security import tokens
from node.security.freshness import Freshness, unconfirmed
from node.security.tokens import Token
from node.service.authentication import HOW, Identity, digest_of

KNOWN_MAX: Final = 4096
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,19}", re.ASCII)
_OWN: Final = "token"
_CERTIFICATE: Final = "certificate"
_MEMBERS: Final = ("users", "tokens", "administrators")


class BearerChecker(Protocol):
    """Knows bearer tokens of one form that are not Floodmark's own, an OpenID provider's for example."""

    def is_mine(self, credential: str) -> bool:
        """Whether it is of this form."""

    async def check(self, credential: str) -> Identity:
        """Raises ``Unauthorized``, or ``Unavailable`` where that cannot be found out at the moment."""


class Authenticator:
    """One per node. ``wall_ms``: this node's own clock, in milliseconds since 1970."""

    def __init__(
        self,
        state: Callable[[], MetadataState],
        freshness: Freshness,
        wall_ms: Callable[[], int],
        checkers: Sequence[BearerChecker] = (),
    ) -> None:
        self._state = state
        self.freshness = freshness
        self._wall_ms = wall_ms
        self._checkers = checkers
        self._known: dict[bytes, Identity] = {}
        self._changes = 0

    def metadata_changed(self, _state: MetadataState, delta: MetadataDelta) -> None:
        """For the metadata: whoever was known may be nobody now."""
        if delta.concerns(*_MEMBERS):
            self._known.clear()
            self._changes += 1

    def known(self, digest: bytes) -> Identity | None:
        """Who it is, where that was found before and still holds; else ``identify`` tells."""
        identity = self._known.get(digest)
        if identity is None or not self.freshness.holds:
            return None
        if identity.expires_ms and self._wall_ms() >= identity.expires_ms:
            return None
        return identity

    async def identify(self, authorization: bytes) -> Identity:
        """Who sends this header. Raises ``Unauthorized``, ``CredentialsUnconfirmed``, ``Unavailable``."""
        digest = digest_of(authorization)
        await self.freshness.confirm()
        if (known := self.known(digest)) is not None:
            return known
        identity, changes = await self._found(authorization)
        if changes == self._changes:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[digest] = identity
        return identity

    def certified_at_once(self, principal: str) -> Identity | None:
        """See ``Authentication``."""
        return Identity(principal, _CERTIFICATE) if self.freshness.holds else None

    async def certified(self, principal: str) -> Identity:
        """Of who has shown a certificate.

        Raises ``CredentialsUnconfirmed``: what that one may do may be another thing by now as well.
        """
        await self.freshness.confirm()
        return Identity(principal, _CERTIFICATE)

    def check(self, identity: Identity) -> None:
        """See ``Authentication``. What is no token of this cluster's is valid until it expires."""
        if not self.freshness.holds:
            raise unconfirmed()
        if identity.expires_ms and self._wall_ms() >= identity.expires_ms:
            raise Unauthorized(f"this token has expired: {HOW}")
        kind, _, token_id = identity.credential.partition(" ")
        if kind == _OWN:
            entry = self._state().tokens.get(token_id)
            if entry is None or entry.user != identity.principal:
                raise Unauthorized(f"this token is not valid, or not any more: {HOW}")

    def is_administrator(self, principal: str) -> bool:
        """As far as this node knows."""
        return principal in self._state().administrators

    async def _found(self, authorization: bytes) -> tuple[Identity, int]:
        """With how often the metadata had changed when that was so."""
        scheme, _, credential = authorization.decode("utf-8", "replace").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer":
            # Whoever left the scheme out has the credential in its place: that is repeated nowhere.
            kind = f" of the kind {scheme!r}" if credential and _SCHEME.fullmatch(scheme) else ""
            raise Unauthorized(f"credentials{kind} are not taken here: {HOW}")
        token = tokens.parsed(credential)
        if token is not None:
            if token.token_id not in self._state().tokens:
                await self.freshness.anew()  # It may have been made a moment ago, at another node.
            return self._by_token(token), self._changes
        for checker in self._checkers:
            if checker.is_mine(credential):
                changes = self._changes
                return await checker.check(credential), changes
        raise Unauthorized(f"this is not a token of this cluster: {HOW}")

    def _by_token(self, token: Token) -> Identity:
        entry = self._state().tokens.get(token.token_id)
        # Nobody learns whether there is such an id: a wrong secret is refused in the same words.
        if not token.is_of(b"" if entry is None else entry.digest) or entry is None:
            raise Unauthorized(f"this token is not valid, or not any more: {HOW}")
        if not entry.is_valid(self._wall_ms()):
            raise Unauthorized(f"this token has expired: {HOW}")
        return Identity(entry.user, f"{_OWN} {token.token_id}", entry.expires_ms)
