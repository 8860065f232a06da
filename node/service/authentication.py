"""What a door needs to know who sends a request: an identity for a credential, or a refusal."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, Protocol

from floodmark.errors import Unauthorized

HOW: Final = "send `Authorization: Bearer fmk_...` with a token of `floodmark token create` or `login`"


class Identity(NamedTuple):
    """Who sends a request. ``credential`` says how that is known, without any secret."""

    principal: str
    credential: str
    expires_ms: int = 0
    """When the credential expires, in milliseconds since 1970; 0: never."""


class Authentication(Protocol):
    """Finds out who sends a request. One per node that authenticates."""

    def known(self, digest: bytes) -> Identity | None:
        """The identity of a credential that was checked before and is still valid; else call ``identify``.

        ``digest``: see ``digest_of``.
        """

    async def identify(self, authorization: bytes) -> Identity:
        """The identity of an ``Authorization`` header. Raises Unauthorized, Unavailable."""

    def certified_at_once(self, principal: str) -> Identity | None:
        """The identity of a client whose certificate names ``principal``; None: call ``certified``."""

    async def certified(self, principal: str) -> Identity:
        """Likewise, once this node knows the cluster's present state. Raises ``CredentialsUnconfirmed``."""

    def check(self, identity: Identity) -> None:
        """For what goes on for long. Raises Unauthorized once the credential is revoked or has expired, and
        CredentialsUnconfirmed where this node cannot know that.
        """

    def is_administrator(self, principal: str) -> bool:
        """Whether this principal may do everything, as far as this node knows."""


def digest_of(authorization: bytes) -> bytes:
    """The key under which an ``Authorization`` header is remembered."""
    return hashlib.sha256(authorization).digest()


def missing() -> Unauthorized:
    """The refusal of a request without any credential."""
    return Unauthorized(f"this cluster requires authentication: {HOW}")
