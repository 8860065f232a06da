"""What all requests about one group have in common: the node that leads the group's shard executes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from floodmark.errors import InvalidRequest, UnknownGroup

from node.coordinator.keys import NAME_BYTES_MAX
from node.metadata.levels import GROUPS
from node.service.policy import Resource, ResourceKind
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

R = TypeVar("R")


class GroupRequest(Request[R], Generic[R], frozen=True, kw_only=True):
    """``execute`` runs where ``at.broker.groups`` leads the group's shard. See ``at_coordinator.py``."""

    needs_level: ClassVar[int] = GROUPS
    makes_group: ClassVar[bool] = False
    """Whether a group that is not there comes to be, and with the first of all the coordinator."""
    stores: ClassVar[bool] = False
    """Whether it changes something, so that without an answer it may have been done all the same."""

    group: str

    def resource(self) -> Resource:
        """The group."""
        return Resource(ResourceKind.GROUP, self.group)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)

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

    def of_no_group(self) -> R:
        """The result where no group has ever been made. Raises ``UnknownGroup``."""
        raise UnknownGroup(f"there is no group {self.group}", group=self.group)


class ShardRequest(Request[R], Generic[R], frozen=True, kw_only=True):
    """About all groups of one shard: the node that leads it executes it. Only nodes make such requests."""

    needs_level: ClassVar[int] = GROUPS

    shard: int

    def is_repeatable(self) -> bool:
        """They only read."""
        return True


def check_group(name: str) -> None:
    """Raises ``InvalidRequest`` for what is no group's name."""
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"a group's name has 1 to {NAME_BYTES_MAX} bytes")
