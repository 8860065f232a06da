"""Administrative requests, the same for every protocol.

A request is a value that says what is done to which resource (for the policy), where it can be done, how it
is checked, and how it is executed. Its result is a value too. Both are sent between nodes as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from node.service.inside_requests import InsideRequest
from node.service.policy import CLUSTER, Operation, Resource
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

R = TypeVar("R")


class Request(InsideRequest[R], Generic[R], frozen=True, kw_only=True):
    """One kind of request; ``R`` is its result. ``Service.ask`` takes it through the pipeline."""

    operation: ClassVar[Operation]
    at_metadata_leader: ClassVar[bool] = False
    """Only the metadata's leader can do it: other nodes forward it."""
    needs_level: ClassVar[int] = 1
    """The feature level from which on nodes know it."""

    def resource(self) -> Resource | None:
        """The resource; None where each item of the result is authorized on its own."""
        return CLUSTER

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """What else is done to which other resources: all of it has to be allowed."""
        return ()

    def is_own(self, context: RequestContext) -> bool:  # noqa: ARG002
        """Whether the principal may ask for this without any permission, since it is about itself alone."""
        return False

    def is_for_administrators(self, at: Service) -> bool:  # noqa: ARG002
        """Whether a permission is not enough, since it would give everything."""
        return False

    def is_told(self) -> bool:
        """Whether the audit is told of it whatever its operation is, as it changes where others go on."""
        return False

    def changes_partitions(self, at: Service) -> int:  # noqa: ARG002
        """How many partitions it creates, adds or deletes, as far as the node that is asked knows."""
        return 0

    def check(self) -> None:
        """Check what can be checked without the cluster's state. Raises ``InvalidRequest``."""

    async def execute(self, at: Service, context: RequestContext) -> R:
        """Do it at this node, before ``context.deadline``. Raises classes of ``floodmark.errors`` only."""
        raise NotImplementedError


class Served(NamedTuple, Generic[R]):
    """What a request came to, and at which node; ``by_leader``: as the metadata's leader."""

    result: R
    node: str
    by_leader: bool = False
