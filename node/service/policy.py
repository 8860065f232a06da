"""The first step of every request: may they ask for that?

Kafka's model: a principal, an operation, a resource. Every way into the service takes this step, the fast
path included, so that no door can forget it.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Protocol

from floodmark.errors import Forbidden

from node.metadata.state import COORDINATOR_TOPIC, INTERNAL_PREFIX
from node.service.request_context import RequestContext


class Operation(enum.StrEnum):
    """What is done to a resource; the names are Kafka's."""

    READ = "read"
    WRITE = "write"
    CREATE = "create"
    ALTER = "alter"
    DELETE = "delete"
    DESCRIBE = "describe"

    __hash__ = str.__hash__  # Enum's own takes as long as all else that is done for a known decision.


class ResourceKind(enum.StrEnum):
    """What can be asked for."""

    TOPIC = "topic"
    TOPICS = "topics"
    """All whose names begin with a name, those that there will be included."""
    GROUP = "group"
    QUEUE = "queue"
    STREAM = "stream"
    CLUSTER = "cluster"

    __hash__ = str.__hash__


class Resource(NamedTuple):
    """One of them. The cluster has no name."""

    kind: ResourceKind
    name: str = ""

    @property
    def is_internal(self) -> bool:
        """Whether it is one of the cluster's own."""
        return self.name.startswith(INTERNAL_PREFIX)


CLUSTER: Final = Resource(ResourceKind.CLUSTER)
CLOSED: Final = frozenset({Operation.WRITE, Operation.CREATE, Operation.DELETE})
"""What nobody does to internal topics, administrators neither."""
_CLOSED_SHARDS: Final = CLOSED | {Operation.READ}
"""The same for the coordinator's topic, which holds no records."""


def is_closed(operation: str, resource: Resource) -> bool:
    """Whether nobody does that."""
    if resource.kind is ResourceKind.GROUP:
        return resource.is_internal  # Under such names partitions keep what queues have stored there.
    if resource.kind is not ResourceKind.TOPIC or not resource.name.startswith(INTERNAL_PREFIX):
        return False
    return operation in (_CLOSED_SHARDS if resource.name == COORDINATOR_TOPIC else CLOSED)


def closed(operation: Operation, resource: Resource) -> Forbidden:
    """Why not."""
    if resource.kind is ResourceKind.GROUP:
        return Forbidden(f"groups whose names begin with {INTERNAL_PREFIX} are the cluster's own")
    if operation is Operation.READ:
        return Forbidden(f"topic {resource.name} holds the state of groups and queues, and no records")
    return Forbidden(f"topics whose names begin with {INTERNAL_PREFIX} are the cluster's own")


def topic(name: str) -> Resource:
    """The topic of this name, whether there is one or not."""
    return Resource(ResourceKind.TOPIC, name)


def topics(prefix: str) -> Resource:
    """All topics whose names begin with this, now and ever."""
    return Resource(ResourceKind.TOPICS, prefix)


def group(name: str) -> Resource:
    """The group of this name, whether there is one or not."""
    return Resource(ResourceKind.GROUP, name)


def queue(name: str) -> Resource:
    """The queue of this name, whether there is one or not."""
    return Resource(ResourceKind.QUEUE, name)


class Policy(Protocol):
    """Decides for one node. It is called on the event loop and never waits."""

    @property
    def may_change(self) -> bool:
        """Whether what is allowed now may be forbidden while a request goes on."""

    @property
    def version(self) -> int | None:
        """What was allowed is allowed as long as this is the same; None: only if it is asked again."""

    @property
    def admits_anonymous(self) -> bool:
        """Whether anything is allowed to who does not say who it is, where others are asked for that."""

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Raises ``Unauthorized``, ``Forbidden``, or ``UnknownTopic`` for what may not even be described."""


class AllowAll:
    """The policy of a cluster that asks nobody who they are: each is as an administrator elsewhere."""

    may_change = False
    version = 0
    admits_anonymous = False

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:  # noqa: ARG002
        """Everything but writing to the cluster's own topics."""
        if is_closed(operation, resource):
            raise closed(operation, resource)
