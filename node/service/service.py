"""The service: what every door asks of a node. It knows no protocol.

What a request means is decided here, at the node where it arrived: which topic it belongs to, who leads its
partitions, and what its answer may hold of this node's memory.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import msgspec
from floodmark.errors import (
    FeatureLevelNeeded,
    FloodmarkError,
    Forbidden,
)

from node import outcomes
from node.broker import Broker, Partition
from node.request_limits import RequestLimits
from node.security.passwords import Passwords
from node.security.quotas import FETCH, PRODUCE, REQUESTS, Quotas
from node.service import auditing, unpacking
from node.service.answer_budget import AnswerBudget, Hold
from node.service.at_coordinator import at_coordinator
from node.service.auditing import Audit, AuditEvent, NoAudit
from node.service.authentication import Authentication
from node.service.coordinator_request import CoordinatorRequest
from node.service.data_requests import (
    FetchRequest,
    FetchResult,
    ListOffsetsRequest,
    Offsets,
    Produced,
    ProduceRequest,
    ReadTopicRequest,
    Shared,
    TopicNews,
    WaitRequest,
)
from node.service.fetch import Fetching
from node.service.inside_line import InsideLine
from node.service.inside_requests import name_of
from node.service.known_topics import CATCH_UP_S, KnownTopics
from node.service.loop_share import PAGE_TURN_BYTES, LoopShare
from node.service.metadata_leader import at_metadata_leader
from node.service.open_reads import OpenReads
from node.service.policy import Operation, Policy, Resource, ResourceKind
from node.service.produce import Producing
from node.service.produce_topic import TopicProducing
from node.service.queue_topics import QueueTopics
from node.service.read_topic import read_topic, wait_topic
from node.service.request_context import A_NODE, RequestContext
from node.service.requests import Request, Served
from node.service.topic_reader import TopicReader
from node.service.watches import Watches

_ADMITTED: Final = "admitted"
T = TypeVar("T")
R = TypeVar("R")


class Service:
    """One per node. ``inside``: how it asks the other nodes. ``policy``: who may do what."""

    def __init__(self, broker: Broker, limits: RequestLimits, inside: InsideLine, policy: Policy) -> None:
        self.broker = broker
        self.limits = limits
        self.inside = inside
        self.policy = policy
        self.authenticator: Authentication | None = None
        """Who somebody is; None where nobody is asked that."""
        self.audit: Audit = NoAudit()
        """What is told of refusals and changes."""
        self.next_request_id: Callable[[], str] = str
        """Under which a request is found again in the log, the audit and its refusal."""
        self.passwords = Passwords()
        self.token_keys: tuple[bytes, ...] = (secrets.token_bytes(32),)
        """By which tokens that are given to clients are sealed, and known again: the cluster's, newest
        first."""
        self.draining = asyncio.Event()
        """Set when the node stops: waiting requests then end by themselves."""
        self.quotas = Quotas(
            {
                PRODUCE: limits.address_produce_bytes_per_s,
                FETCH: limits.address_fetch_bytes_per_s,
                REQUESTS: limits.address_requests_per_s,
            },
            exempt=A_NODE,
        )
        """How much of it."""
        self.answers = AnswerBudget(limits.responses_bytes_max)
        self.pages = LoopShare(PAGE_TURN_BYTES)
        """Turns for translating records into answers, a slice of each answer at a time."""
        self.unpacking = asyncio.Semaphore(unpacking.AT_ONCE)
        """Limits how many large batches are decompressed at once."""
        self.topics = KnownTopics(broker)
        self.queue_topics = QueueTopics()
        self.watches = Watches(self)
        self.open_reads = OpenReads(lambda: self.policy, lambda: self.authenticator)
        self.wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        """The time of records that are sent without one."""
        self.producing = Producing(self)
        self._topic_producing = TopicProducing(self)
        self.fetching = Fetching(self)

    def produce(self, context: RequestContext, request: ProduceRequest) -> Awaitable[Produced]:
        """Store records in one partition: authorize, quota, validate, route, execute.

        Raises as ``Partition.produce`` does, what the body is refused for, and ``TopicDeleted``.
        """
        return self.producing.produce(context, request)

    async def produce_by_key(self, context: RequestContext, request: ProduceRequest) -> Shared:
        """Store records in the partitions of their keys; likewise, for each partition's share."""
        return await self._topic_producing.produce(context, request)

    def fetch(self, context: RequestContext, request: FetchRequest, hold: Hold) -> Awaitable[FetchResult]:
        """Read frames of one partition; they are in ``hold`` then. Raises as ``Partition.fetch`` does."""
        return self.fetching.fetch(context, request, hold)

    def reader(
        self,
        context: RequestContext,
        partition: Partition,
        position: str,
        hold: Hold,
        *,
        wait_s: float = 0.0,
        here_only: bool = False,
    ) -> TopicReader:
        """A reader of one partition's records from ``position`` on; what it reads ahead is in ``hold``.

        ``wait_s``: how long the request may wait for its first record, besides for a leader.
        """
        resource = Resource(ResourceKind.TOPIC, partition.topic)
        self.authorize(context, Operation.READ, resource)
        self.admit(context, Operation.READ, 0)
        leader_s = self.fetching.leader_s(wait_s)
        topic_id = partition.topic_id
        return TopicReader(
            self,
            hold,
            topic_id,
            [partition],
            [position],
            permit=self.open_reads.permit(context, Operation.READ, resource),
            by_cursor=False,
            leader_s=leader_s,
            here_only=here_only,
        )

    async def read_topic(self, context: RequestContext, request: ReadTopicRequest, hold: Hold) -> TopicReader:
        """A reader of all partitions' records; what it reads ahead is in ``hold``. See ``read_topic.py``."""
        return await read_topic(self, context, request, hold)

    async def wait_topic(self, context: RequestContext, request: WaitRequest) -> TopicNews:
        """Wait for new records in any partition, without reading them. See ``read_topic.py``."""
        return await wait_topic(self, context, request)

    async def list_offsets(self, context: RequestContext, request: ListOffsetsRequest) -> Offsets:
        """The offset that a position denotes in one partition, or its end."""
        return await self.fetching.list_offsets(context, request)

    async def find(
        self,
        context: RequestContext,
        operation: Operation,
        topic: str,
        number: int,
        asked_id: int | None = None,
    ) -> Partition:
        """The partition that a request is about, once it is known that it may be asked for.

        For doors that read a request's body only where there is somewhere to put it.
        """
        self.authorize(context, operation, Resource(ResourceKind.TOPIC, topic))
        return await self.topics.partition(topic, number, asked_id)

    async def unless_draining(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of ``work``, or None when the node begins to stop before there is one."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.draining.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Call it before telling anything of ``resource`` or changing it. Asks the policy once for each
        request.

        Raises ``Unauthorized``, ``Forbidden``, or ``UnknownTopic`` for what may not even be described.
        """
        asked = (operation, resource)
        if asked in context.judged:
            return
        try:
            self.policy.authorize(context, operation, resource)
        except auditing.REFUSED as error:
            self._tell(auditing.denial(context, operation, resource, error), error)
            raise
        context.judged.add(asked)
        if self.audit.reads and operation in auditing.READS:
            self._tell(auditing.read(context, operation, resource))

    def judge(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Like ``authorize``, without telling the audit: what is refused here is asked again, or left out."""
        asked = (operation, resource)
        if asked not in context.judged:
            self.policy.authorize(context, operation, resource)
            context.judged.add(asked)

    def may(self, context: RequestContext, operation: Operation, resource: Resource) -> bool:
        """Whether it is allowed: for lists, which omit what is not."""
        try:
            self.judge(context, operation, resource)
        except auditing.REFUSED:
            return False
        return True

    def admit(
        self, context: RequestContext, operation: Operation, size: int, request: Request[Any] | None = None
    ) -> None:
        """Count a request of ``size`` bytes against whoever's quota it is. Raises ``TooManyRequests``.

        Raises ``RuntimeError`` for the context of another request: what that one was allowed would count as
        allowed to this one.
        """
        if _ADMITTED in context.judged:
            raise RuntimeError("a RequestContext belongs to one request: make another one")
        if self.quotas.are_set:
            partitions = 0 if request is None else request.changes_partitions(self)
            self.quotas.admit(context, operation, size, partitions)
        context.judged.add(_ADMITTED)

    async def ask(self, context: RequestContext, request: Request[R], *, size: int = 0) -> Served[R]:
        """The way of every request: authorize, quota, validate, route, execute.

        ``size``: bytes that it came in. ``context`` has a deadline. It was judged here, where it arrived: the
        node that executes it does not judge it again.
        """
        self.permit(context, request)
        self.admit(context, request.operation, size, request)
        request.check()
        try:
            served = await self._serve(context, request)
        except BaseException as error:
            self._tell_change(context, request, error)
            raise
        self._tell_change(context, request)
        return served

    async def _serve(self, context: RequestContext, request: Request[R]) -> Served[R]:
        if request.needs_level > 1:
            await self.check_level("this", request.needs_level)
        if request.at_metadata_leader:
            return await at_metadata_leader(self, context, request)
        if isinstance(request, CoordinatorRequest):
            return await at_coordinator(self, context, request)
        return Served(await request.execute(self, context), self.broker.node_id)

    def unknown_credential(self, address: str, protocol: str, error: FloodmarkError) -> None:
        """For doors: whoever is at ``address`` could not say who they are."""
        self._tell(auditing.unknown_credential(address, protocol, error), error)

    def done_by_node(self, action: str, protocol: str, details: Mapping[str, Any]) -> None:
        """This node has done something without being asked through a door. ``details`` hold no secret."""
        self._tell(auditing.by_node(action, protocol, details))

    def failed_login(self, context: RequestContext, user: str, error: FloodmarkError) -> None:
        """A password was wrong."""
        self._tell(auditing.failed_login(context, user, error), error)

    def _tell_change(
        self, context: RequestContext, request: Request[Any], error: BaseException | None = None
    ) -> None:
        if auditing.is_change(context, request):
            self._tell(auditing.change(context, name_of(request), request, error), error)

    def _tell(self, event: AuditEvent, error: BaseException | None = None) -> None:
        request_id = self.next_request_id()
        if isinstance(error, FloodmarkError):
            error.request_id = request_id
        self.audit.tell(msgspec.structs.replace(event, request_id=request_id))

    def permit(self, context: RequestContext, request: Request[Any]) -> None:
        """The first step of ``ask``, for doors that prepare a request at some cost. Raises likewise."""
        resource = request.resource()
        if resource is None or request.is_own(context):
            return
        self.authorize(context, request.operation, resource)
        for operation, other in request.also():
            self.authorize(context, operation, other)
        if self.authenticator is not None and request.is_for_administrators(self):
            principal = context.principal
            if principal != A_NODE and not self.authenticator.is_administrator(principal):
                error = Forbidden(f"{principal} may not do this: it takes an administrator")
                self._tell(auditing.denial(context, request.operation, resource, error), error)
                raise error

    async def check_level(self, what: str, needed: int) -> None:
        """Raises ``FeatureLevelNeeded`` where nodes of the cluster may not know such a request."""
        broker = self.broker
        if broker.feature_level < needed:
            await broker.catch_up(timeout_s=CATCH_UP_S)
            if broker.feature_level < needed:
                raise outcomes.needs_level(what, needed, broker.feature_level)

    async def once_level_known(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What it comes to, asked again where the cluster was raised to a higher feature level meanwhile.

        ``FeatureLevelNeeded`` says that nothing was stored; it is raised once that is certain.
        """
        known = self.broker.batch_format
        try:
            return await ask()
        except FeatureLevelNeeded:
            await self.broker.catch_up(timeout_s=CATCH_UP_S)
            if self.broker.batch_format == known:
                raise
            return await ask()
