"""Quotas as this node's metadata have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from node.broker import QuotaInfo, QuotaLimits
from node.metadata.command import Command
from node.metadata.domains.quotas import RemoveQuota, SetQuota, check_quota
from node.metadata.state import Applied, MetadataState, QuotaEntry


class _Metadata(Protocol):
    @property
    def state(self) -> MetadataState: ...

    async def propose(self, command: Command, *, timeout_s: float) -> Applied: ...


class LocalQuotas:
    """Implements ``node.broker.QuotaAdmin``."""

    def __init__(self, metadata: _Metadata) -> None:
        self._metadata = metadata

    def check(self, quota: QuotaInfo) -> None:
        """As the metadata takes it."""
        refused = check_quota(_entry(quota))
        if refused is not None:
            raise refused

    def all(self) -> Sequence[QuotaInfo]:
        """See ``QuotaAdmin``."""
        # A limit that only a later build knows is not shown, rather than refused.
        return [
            QuotaInfo(principal=entry.principal, limits=_limits(entry))
            for entry in self._metadata.state.quotas.values()
        ]

    async def set(self, quota: QuotaInfo, *, timeout_s: float) -> None:
        """See ``QuotaAdmin``."""
        await self._metadata.propose(SetQuota(_entry(quota)), timeout_s=timeout_s)

    async def remove(self, principal: str, *, timeout_s: float) -> None:
        """See ``QuotaAdmin``."""
        await self._metadata.propose(RemoveQuota(principal), timeout_s=timeout_s)


def _entry(quota: QuotaInfo) -> QuotaEntry:
    given = msgspec.structs.asdict(quota.limits)
    return QuotaEntry(
        quota.principal, {name: float(value) for name, value in given.items() if value is not None}
    )


def _limits(entry: QuotaEntry) -> QuotaLimits:
    known = {name: value for name, value in entry.limits.items() if name in QuotaLimits.__struct_fields__}
    return msgspec.convert(known, QuotaLimits, strict=False)
