"""The first two steps of every request: authorization and quota.

Kafka's model: a principal, an operation, a resource. Every way into the service takes these steps, the fast
path included, so that no door can forget them.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

from node.service.request_context import RequestContext


class Operation(enum.StrEnum):
    """What is done to a resource; the names are Kafka's."""

    READ = "read"
    WRITE = "write"
    CREATE = "create"
    ALTER = "alter"
    DELETE = "delete"
    DESCRIBE = "describe"


class ResourceKind(enum.StrEnum):
    """The kinds of resources."""

    TOPIC = "topic"
    CLUSTER = "cluster"


class Resource(NamedTuple):
    """A resource. The cluster has no name."""

    kind: ResourceKind
    name: str = ""


CLUSTER = Resource(ResourceKind.CLUSTER)


def topic(name: str) -> Resource:
    """The topic of this name, whether or not it exists."""
    return Resource(ResourceKind.TOPIC, name)


class Policy(Protocol):
    """Decides for one node. Both are called on the event loop and never wait."""

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Raises ``Unauthorized``, ``Forbidden``, or ``UnknownTopic`` for what may not even be described."""

    def admit(self, context: RequestContext, operation: Operation, size: int) -> None:
        """Count a request of ``size`` bytes against the principal's quota. Raises ``TooManyRequests``."""


class AllowAll:
    """The policy of a cluster without authentication: everybody may do everything."""

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Everything."""

    def admit(self, context: RequestContext, operation: Operation, size: int) -> None:
        """However much."""
