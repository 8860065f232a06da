"""Quotas: list, set and remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from node.broker import QuotaInfo, QuotaLimits
from node.metadata.domains.quotas import LIMITS
from node.metadata.levels import SECURITY
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service


__all__ = ["LIMITS", "ListQuotas", "QuotaList", "RemoveQuota", "SetQuota"]


class QuotaList(msgspec.Struct, frozen=True):
    """Quotas, in order of principal."""

    quotas: list[QuotaInfo]


class ListQuotas(Request[QuotaList], frozen=True, kw_only=True):
    """All of them."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> QuotaList:
        """Knows of every change that was acknowledged before."""
        await at.broker.catch_up(timeout_s=context.left_s())
        return QuotaList(list(at.broker.quotas.all()))


class SetQuota(Request[QuotaInfo], frozen=True, kw_only=True):
    """This is the principal's quota from now on, whatever it had."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    principal: str
    limits: QuotaLimits

    async def execute(self, at: Service, context: RequestContext) -> QuotaInfo:
        """See ``Broker.quotas.set``."""
        quota = QuotaInfo(principal=self.principal, limits=self.limits)
        at.broker.quotas.check(quota)
        await at.broker.quotas.set(quota, timeout_s=context.left_s())
        return quota


class RemoveQuota(Request[None], frozen=True, kw_only=True):
    """The principal has no quota of its own any more."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    principal: str

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.quotas.remove``."""
        await at.broker.quotas.remove(self.principal, timeout_s=context.left_s())
