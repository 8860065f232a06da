"""What can be asked of a node as a whole, in any protocol: a typed request says all there is to know of it.

A request is a value: what is done to what (for the policy), where it can be done, what it must look like, and
how it is done. It comes to a result, a value as well. Both travel between nodes as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from node.service.inside_requests import InsideRequest
from node.service.policy import CLUSTER, Operation, Resource
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service

R = TypeVar("R")


class Request(InsideRequest[R], Generic[R], frozen=True, kw_only=True):
    """One kind of request; ``R`` is what it comes to. ``Service.ask`` takes it through the pipeline."""

    operation: ClassVar[Operation]
    at_metadata_leader: ClassVar[bool] = False
    """Only the metadata's leader can do it; it goes there, whoever is asked."""

    def resource(self) -> Resource | None:
        """What it is done to; None where what it shows is judged one by one, as it is found."""
        return CLUSTER

    def check(self) -> None:
        """What can be judged without knowing the cluster. Raises ``InvalidRequest``."""

    async def execute(self, at: Service, context: RequestContext) -> R:
        """Do it at this node, before ``context.deadline``. Raises classes of ``floodmark.errors`` only."""
        raise NotImplementedError


class Served(NamedTuple, Generic[R]):
    """What a request came to, and at which node."""

    result: R
    node: str
