"""What all handlers of one application share."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from aiohttp import web
from floodmark.errors import (
    FeatureLevelNeeded,
    OutcomeUnknown,
    TooManyRequests,
    TopicDeleted,
    Unavailable,
    UnknownPartition,
    UnknownTopic,
)

from node.broker import Broker, Partition, TopicInfo, TopicLimits
from node.budget import Account
from node.http import unpacking
from node.http.answers import AnswerBudget, Hold
from node.http.connection import Connection
from node.http.loop_share import BODY_TURN_BYTES, PAGE_TURN_BYTES, LoopShare
from node.http.metrics import HttpMetrics
from node.http.packers import Packers
from node.http.refusals import Refusals
from node.http.topic_id import OfTopic, WhileExists, deleted, never_was
from node.request_limits import RequestLimits

if TYPE_CHECKING:
    from node.http.watches import Watches

FORWARDED: Final = "Floodmark-Forwarded"
"""A request with it was passed on by a node, and is not passed on again."""
_CATCH_UP_S: Final = 2.0
T = TypeVar("T")


@dataclass(slots=True)
class HttpContext:
    """The node, its settings, and what is kept between requests."""

    broker: Broker
    settings: RequestLimits
    metrics: HttpMetrics
    node_mark: str = field(default_factory=lambda: secrets.token_hex(16))
    """What this cluster's nodes say to each other with what they pass on, and nobody else knows."""
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """The time of records that are sent without one."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: long polls and streams then end by themselves."""
    bodies: LoopShare = field(default_factory=lambda: LoopShare(BODY_TURN_BYTES))
    """Bodies of clients and of other nodes, the oldest first."""
    pages: LoopShare = field(default_factory=lambda: LoopShare(PAGE_TURN_BYTES))
    """Records on their way into answers, a slice of each answer in turn."""
    packers: Packers = field(default_factory=Packers)
    """Decode large bodies where they hold nobody up."""
    refusals: Refusals = field(init=False)
    answers: AnswerBudget = field(init=False)
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(unpacking.AT_ONCE))
    """For large batches: only so many are decompressed at a time."""
    watches: Watches = field(init=False)
    """Set by ``create_app``."""
    _session: aiohttp.ClientSession | None = None
    _patient_session: aiohttp.ClientSession | None = None
    _patient: int = 0
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _run: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.next_request_id)
        self.answers = AnswerBudget(self.settings.responses_bytes_max)

    def is_from_node(self, forwarded: str | None) -> bool:
        """Whether another node of this cluster has passed a request on, by that header's value.

        Anybody may say that a request was passed on, and then it is not passed on again; only nodes are
        served from what is set aside for nodes.
        """
        return forwarded is not None and hmac.compare_digest(
            forwarded.encode("utf-8", "surrogateescape"), self.node_mark.encode()
        )

    def uploads(self, request: web.Request) -> Account:
        """What this request's body may hold of the node's memory."""
        protocol = request.protocol
        address = protocol.address if isinstance(protocol, Connection) else str(request.remote)
        return self.broker.uploads(address, from_node=self.is_from_node(request.headers.get(FORWARDED)))

    @property
    def session(self) -> aiohttp.ClientSession:
        """For requests to other nodes that are answered at once; made when the first one is passed on."""
        if self._session is None:
            self._session = self._to_nodes(self.settings.forward_connections_max - self.patient_max)
        return self._session

    @property
    def patient_session(self) -> aiohttp.ClientSession:
        """For long polls and streams, within ``patience``, so that they leave connections to the others."""
        if self._patient_session is None:
            self._patient_session = self._to_nodes(self.patient_max)
        return self._patient_session

    def _to_nodes(self, limit: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=limit,
            limit_per_host=0,
            # Well below the other side's idle timeout, so that it does not close what is picked here.
            keepalive_timeout=self.settings.idle_timeout_s / 4,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.forward_connect_timeout_s),
            # What a client left out is left out here, too: it means something.
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )

    @property
    def patient_max(self) -> int:
        """So many requests may wait at other nodes."""
        return max(1, self.settings.forward_connections_max // 2)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Around a request that waits at another node. Raises ``TooManyRequests`` where too many do."""
        if self._patient >= self.patient_max:
            raise TooManyRequests(
                f"{self._patient} requests that wait are passed on to other nodes already: send this one to "
                "the node that leads its partition, or read the whole topic, where waiting is shared",
                retry_after_s=1.0,
            )
        self._patient += 1
        try:
            yield
        finally:
            self._patient -= 1

    async def close(self) -> None:
        """Close the connections to other nodes, and end the processes that decode."""
        await self.packers.close()
        sessions = (self._session, self._patient_session)
        self._session = self._patient_session = None
        for session in sessions:
            if session is not None:
                await session.close()

    def next_request_id(self) -> str:
        """Unique among all processes: the node's name, a random part per start, and a counter."""
        return f"{self.broker.node_id}-{self._run}-{next(self._ids):x}"

    async def topic(self, name: str, asked_id: int | None = None) -> TopicInfo:
        """The topic, giving this node the chance to learn of one that was made a moment ago elsewhere.

        ``asked_id``: the topic that the request belongs to; no other is meant. Raises ``TopicDeleted``.
        """
        return await self._once_known(name, asked_id, lambda: self.broker.topic(name))

    async def topic_limits(self, name: str, asked_id: int | None = None) -> TopicLimits:
        """What the topic allows, as above."""
        return await self._once_known(name, asked_id, lambda: self.broker.topic_limits(name))

    async def partition(self, topic: str, number: int, asked_id: int | None = None) -> Partition:
        """The partition, as above."""
        return await self._once_known(topic, asked_id, lambda: self.broker.partition(topic, number))

    async def _once_known(self, name: str, asked_id: int | None, ask: Callable[[], T]) -> T:
        """What the broker says, asked again when it had to catch up with the metadata first."""
        try:
            if asked_id is None or self._is_current(name, asked_id):
                return ask()
        except TopicDeleted:
            raise
        except (UnknownTopic, UnknownPartition):
            pass
        await self.broker.catch_up(timeout_s=_CATCH_UP_S)
        if asked_id is not None and not self._is_current(name, asked_id):
            current = self._current_id(name)
            raise deleted(name, asked_id, None) if current is None else never_was(name, asked_id, current)
        return ask()

    async def once_level_known(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What it comes to, asked again where the cluster was raised to a higher feature level meanwhile.

        ``FeatureLevelNeeded`` says that nothing was stored; it is raised once that is certain.
        """
        known = self.broker.batch_format
        try:
            return await ask()
        except FeatureLevelNeeded:
            await self.broker.catch_up(timeout_s=_CATCH_UP_S)
            if self.broker.batch_format == known:
                raise
            return await ask()

    def _is_current(self, name: str, topic_id: int) -> bool:
        """Whether the topic has this id. False when it has none or a lower one: this node may be behind.

        Raises ``TopicDeleted`` when it has a higher one, and never will have this one again.
        """
        current = self._current_id(name)
        if current is not None and current > topic_id:
            raise deleted(name, topic_id, current)
        return current == topic_id

    def _current_id(self, name: str) -> int | None:
        try:
            return self.broker.topic_limits(name).topic_id
        except UnknownTopic:
            return None

    def gone(self, item: OfTopic) -> TopicDeleted | None:
        """The error when the topic of ``item`` is deleted, as far as this node knows."""
        current = self._current_id(item.topic)
        return None if current == item.topic_id else deleted(item.topic, item.topic_id, current)

    def current(self, partition: Partition) -> Partition:
        """The same partition, as this node stands to it by now: a replica here may be new, or gone.

        Raises ``TopicDeleted``.
        """
        error = self.gone(partition)
        if error is not None:
            raise error
        return self.broker.partition(partition.topic, partition.number)

    def while_exists(self, item: OfTopic, *, grace_s: float = 0.0) -> WhileExists:
        """``async with``: what is awaited within ends with ``TopicDeleted`` once it is deleted."""
        return WhileExists(
            lambda: self.gone(item),
            lambda tell: self.broker.when_deleted(item.topic, item.topic_id, tell),
            grace_s,
        )

    def reason(self, error: Exception, item: OfTopic) -> Exception:
        """Why a request to a replica failed: where its topic was deleted meanwhile, because of that."""
        if isinstance(error, Unavailable | OutcomeUnknown):
            return self.gone(item) or error
        return error

    async def not_found_there(self, item: OfTopic) -> TopicDeleted | None:
        """The error when another node does not know the topic of ``item``, which this one still knew."""
        await self.broker.catch_up(timeout_s=_CATCH_UP_S)
        return self.gone(item)

    @contextmanager
    def task_ends_with_connection(self, request: web.Request) -> Iterator[None]:
        """Within it the handler is cancelled when its client leaves. Only for what stores nothing."""
        protocol = request.protocol
        if not isinstance(protocol, Connection):
            yield
            return
        protocol.ends_with_it = asyncio.current_task()
        try:
            yield
        finally:
            protocol.ends_with_it = None

    async def unless_draining(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of ``work``, or None when the server begins to stop before there is one."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.draining.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()

    def hold_for(self, request: web.Request) -> Hold:
        """What the answer to a request will hold of the memory for answers; for a with-block."""
        return self.answers.hold(request.remote or "")


CONTEXT: Final = web.AppKey("floodmark_context", HttpContext)
