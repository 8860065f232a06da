"""Has the leader of a shard execute a request about a group or a queue, whichever node was asked.

The shards are partitions of a topic of the cluster's own, so their leaders are found as those of records are
(``router.py``). ``Unavailable`` says that nothing was stored, so the next leader is asked until the time is
up. Where something may have been stored, the next one is asked only for what is *repeatable*: a commit that
moves nothing back, a member that says what it has, the end of a delivery. All else could undo what has been
stored since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from floodmark.errors import CoordinatorNotAvailable, LeaderNotAvailable, Unavailable, UnknownTopic

from node import outcomes
from node.broker import Partition, TopicLimits
from node.metadata.domains.coordinator import shard_of
from node.metadata.levels import GROUPS
from node.metadata.state import COORDINATOR_TOPIC
from node.service.coordinator_request import CoordinatorRequest, ShardRequest
from node.service.leaders import Leader, LeaderThere
from node.service.metadata_leader import at_metadata_leader
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request, Served
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

R = TypeVar("R")


class MakeCoordinator(Request[None], frozen=True, kw_only=True):
    """Make the coordinator's shards, unless they are there: nodes ask for it, on behalf of whoever uses the
    first group or queue.
    """

    operation: ClassVar[Operation] = Operation.CREATE
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = GROUPS

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``GroupAdmin.make_coordinator``."""
        await at.broker.groups.make_coordinator(timeout_s=context.left_s())


async def at_coordinator(
    service: Service, context: RequestContext, request: CoordinatorRequest[R] | ShardRequest[R]
) -> Served[R]:
    """What the leader of the shard answers, and which node that is. Raises what it raises;
    ``CoordinatorNotAvailable`` when none did in time.
    """
    if isinstance(request, ShardRequest):
        partition = await service.topics.partition(COORDINATOR_TOPIC, request.shard)
        return Served(*await _at_leader(service, context, partition, request))
    shard = await _shard(service, context, request)
    if shard is None:
        return Served(request.of_none(), service.broker.node_id)
    result, node = await _at_leader(service, context, shard, await request.prepared(service))
    return Served(request.shown(result, service, context), node)


async def _at_leader(
    service: Service,
    context: RequestContext,
    shard: Partition,
    request: CoordinatorRequest[R] | ShardRequest[R],
) -> tuple[R, str]:
    async def ask(leader: Leader, left: float) -> R:
        if not isinstance(leader, LeaderThere):
            return await request.execute(service, context.within(left))
        try:
            return await service.inside.ask(leader.node, request, timeout_s=left)
        except Unavailable:
            leader.partition.doubt_leader(leader.node)
            raise

    try:
        return await at_leader(
            service, shard, ask, timeout_s=context.left_s(), is_recognised=request.is_repeatable
        )
    except LeaderNotAvailable as error:
        raise CoordinatorNotAvailable(
            f"shard {shard.number} of the coordinator has no leader at the moment; nothing was stored",
            **error.fields,
        ) from error


async def coordinator_limits(service: Service) -> TopicLimits:
    """Of the topic whose partitions are the shards. Raises ``UnknownTopic`` where there is none yet, and
    ``Conflict`` where a user has its name."""
    limits = await service.topics.limits(COORDINATOR_TOPIC)
    if not limits.is_coordinator:
        raise outcomes.coordinator_name_taken(COORDINATOR_TOPIC)
    return limits


async def shard_keeping(service: Service, name: str) -> Partition:
    """The shard that keeps a group or queue. Raises likewise."""
    limits = await coordinator_limits(service)
    number = shard_of(name, limits.partitions)
    return await service.topics.partition(COORDINATOR_TOPIC, number, limits.topic_id)


async def _shard(
    service: Service, context: RequestContext, request: CoordinatorRequest[R]
) -> Partition | None:
    """The shard; None where there is no coordinator, and none is needed."""
    try:
        return await shard_keeping(service, request.kept_as())
    except UnknownTopic:
        if not request.makes_it:
            return None
    await at_metadata_leader(service, context, MakeCoordinator())
    return await shard_keeping(service, request.kept_as())
