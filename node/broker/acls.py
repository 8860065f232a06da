"""Access control lists: the entries that say who may do what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Acl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry. ``principal``: a user, ``*`` for every authenticated one, or ``anonymous``."""

    principal: str
    kind: str
    """``topic``, ``group``, ``stream``, ``queue`` or ``cluster``."""
    name: str = ""
    """Empty for the cluster; with the pattern ``prefix``, for every resource of the kind."""
    pattern: str = "literal"
    """``literal`` or ``prefix``: how ``name`` is meant."""
    operation: str
    """``read``, ``write``, ``create``, ``alter``, ``delete``, ``describe`` or ``all``."""
    allow: bool = True
    """False: the operation is denied, whatever else allows it."""


class AclDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a principal may do something, and why."""

    allowed: bool
    reason: str
    acl: Acl | None = None
    """The entry that decides; None where none does."""


class AclAdmin(Protocol):
    """The entries; changes only where this node leads the metadata."""

    def check(self, acl: Acl) -> None:
        """Raises InvalidRequest where there can be no such entry."""

    def entries(self) -> Sequence[Acl]:
        """All of them as this node knows them, in order of principal."""

    async def add(self, acls: Sequence[Acl], *, timeout_s: float) -> int:
        """Returns how many are new. Raises FeatureLevelNeeded, InvalidRequest, Conflict (there are too many),
        Unavailable, OutcomeUnknown.
        """

    async def remove(self, acls: Sequence[Acl], *, timeout_s: float) -> int:
        """Returns how many were there. Raises likewise."""

    def decide(self, principal: str, operation: str, kind: str, name: str) -> AclDecision:
        """What the entries and the administrators come to, as this node knows them."""
