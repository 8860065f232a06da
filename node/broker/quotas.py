"""Quotas: how much each principal may ask for of each node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol

import msgspec

_MOST: Final = 1 << 53
Rate = Annotated[float, msgspec.Meta(ge=1, le=_MOST)]
Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class QuotaLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The limits of one principal at each node; what is left out is not limited."""

    produce_bytes_per_s: Rate | None = None
    fetch_bytes_per_s: Rate | None = None
    requests_per_s: Rate | None = None
    connections: Count | None = None
    inflight_bytes: Count | None = None
    partition_changes_per_s: Rate | None = None


class QuotaInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A quota. ``principal``: a user, ``*`` for each without one of its own, or ``anonymous``."""

    principal: str
    limits: QuotaLimits


class QuotaAdmin(Protocol):
    """The quotas; changes only where this node leads the metadata."""

    def check(self, quota: QuotaInfo) -> None:
        """Raises InvalidRequest where there can be no such quota."""

    def all(self) -> Sequence[QuotaInfo]:
        """All of them as this node knows them, in order of principal."""

    async def set(self, quota: QuotaInfo, *, timeout_s: float) -> None:
        """Instead of what the principal had. Raises FeatureLevelNeeded, InvalidRequest, Conflict (there are
        too many), Unavailable, OutcomeUnknown.
        """

    async def remove(self, principal: str, *, timeout_s: float) -> None:
        """Raises likewise, and NotFound."""
