"""What all requests about one group have in common: the node that leads the group's shard executes them."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from floodmark.errors import InvalidRequest, UnknownGroup

from node.coordinator.keys import NAME_BYTES_MAX
from node.metadata.levels import GROUPS
from node.service.coordinator_request import CoordinatorRequest
from node.service.policy import Resource, ResourceKind

R = TypeVar("R")


class GroupRequest(CoordinatorRequest[R], Generic[R], frozen=True, kw_only=True):
    """``execute`` runs where ``at.broker.groups`` leads the group's shard."""

    needs_level: ClassVar[int] = GROUPS

    group: str

    def kept_as(self) -> str:
        """The group's name."""
        return self.group

    def resource(self) -> Resource:
        """The group."""
        return Resource(ResourceKind.GROUP, self.group)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)

    def of_none(self) -> R:
        """Raises ``UnknownGroup``."""
        raise UnknownGroup(f"there is no group {self.group}", group=self.group)


def check_group(name: str) -> None:
    """Raises ``InvalidRequest`` for what is no group's name."""
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"a group's name has 1 to {NAME_BYTES_MAX} bytes")
