"""What all requests to the coordinator have in common: the node that leads a shard executes them.

A name chooses the shard, that of a group or of a queue. See ``at_coordinator.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from node.metadata.levels import GROUPS
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

R = TypeVar("R")


class CoordinatorRequest(Request[R], Generic[R], frozen=True, kw_only=True):
    """``execute`` runs where the shard of ``kept_as`` is led."""

    makes_it: ClassVar[bool] = False
    """Whether what it is about comes to be where it is not there, and with the first of all the coordinator.
    """
    stores: ClassVar[bool] = False
    """Whether it changes something, so that without an answer it may have been done all the same."""

    def kept_as(self) -> str:
        """The name that chooses the shard."""
        raise NotImplementedError

    def is_repeatable(self) -> bool:
        """Whether it harms nothing when the next leader does again what an earlier one may have done, also
        after what was asked since."""
        return False

    async def prepared(self, at: Service) -> Self:  # noqa: ARG002
        """The request as it is sent to the leader, with what the node that was asked finds out."""
        return self

    def shown(self, result: R, at: Service, context: RequestContext) -> R:  # noqa: ARG002
        """The result, without what whoever asks may not know of."""
        return result

    def of_none(self) -> R:
        """The result where there is no coordinator, so nothing was ever made. Raises ``NotFound``."""
        raise NotImplementedError


class ShardRequest(Request[R], Generic[R], frozen=True, kw_only=True):
    """About all of one shard: the node that leads it executes it. Only nodes make such requests."""

    needs_level: ClassVar[int] = GROUPS

    shard: int

    def is_repeatable(self) -> bool:
        """They only read."""
        return True
