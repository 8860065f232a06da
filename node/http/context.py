"""What all handlers of one application share."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from typing import Final, TypeVar

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from floodmark.errors import (
    TooManyRequests,
)

from node.broker import Broker
from node.budget import Account
from node.http.authentication import IDENTITY, NOBODY
from node.http.connection import Connection
from node.http.forwarded import FORWARDED
from node.http.group_rows import GroupRows
from node.http.metrics import HttpMetrics
from node.http.older_nodes import OlderNodes
from node.http.packers import Packers
from node.http.refusals import Refusals
from node.http.request_context import address_of
from node.request_limits import RequestLimits
from node.service.answer_budget import Hold
from node.service.authentication import Authentication
from node.service.loop_share import BODY_TURN_BYTES, LoopShare
from node.service.partition_requests import InsidePartitions
from node.service.policy import AllowAll, Policy
from node.service.request_context import NOBODY_IN_PARTICULAR, RequestContext
from node.service.service import Service

T = TypeVar("T")


class EndsWithConnection:
    """``with``: what the current task does within ends when the client leaves."""

    __slots__ = ("_connection",)

    def __init__(self, protocol: RequestHandler) -> None:
        self._connection = protocol if isinstance(protocol, Connection) else None

    def __enter__(self) -> None:
        if self._connection is not None:
            self._connection.ends_with_it = asyncio.current_task()

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.ends_with_it = None


@dataclass(slots=True)
class HttpContext:
    """The node, its settings, and what is kept between requests."""

    broker: Broker
    settings: RequestLimits
    metrics: HttpMetrics
    policy: InitVar[Policy | None] = None
    """Without one everybody may do everything."""
    authenticator: InitVar[Authentication | None] = None
    """Without one nobody is asked who they are."""
    service: Service = field(init=False)
    node_mark: str = field(default_factory=lambda: secrets.token_hex(16))
    """What this cluster's nodes say to each other with what they pass on, and nobody else knows."""
    other_marks: tuple[str, ...] = ()
    """What nodes may say as well, while the cluster's secret is changed."""
    meets_earlier_builds: Callable[[], bool] = lambda: False
    """Whether a node of this cluster has a build that asks over HTTP, as far as this node has met them."""
    bodies: LoopShare = field(default_factory=lambda: LoopShare(BODY_TURN_BYTES))
    """Bodies of clients and of other nodes, the oldest first."""
    packers: Packers = field(default_factory=Packers)
    """Decode large bodies where they hold nobody up."""
    refusals: Refusals = field(init=False)
    _session: aiohttp.ClientSession | None = None
    _patient_session: aiohttp.ClientSession | None = None
    _patient: int = 0
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _run: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self, policy: Policy | None, authenticator: Authentication | None) -> None:
        self.refusals = Refusals(self.broker, self.next_request_id)
        self.service = Service(
            self.broker, self.settings, InsidePartitions(OlderNodes(self)), policy or AllowAll()
        )
        self.service.authenticator = authenticator
        self.service.next_request_id = self.next_request_id
        self.metrics.groups = GroupRows(self.service)

    def is_from_node(self, forwarded: str | None) -> bool:
        """Whether another node of this cluster has passed a request on, by that header's value.

        Only nodes can say so: theirs is not passed on again, and is served from what is set aside for nodes.
        """
        if forwarded is None:
            return False
        said = forwarded.encode("utf-8", "surrogateescape")
        return any(hmac.compare_digest(said, mark.encode()) for mark in (self.node_mark, *self.other_marks))

    def is_passed_on(self, request: web.BaseRequest) -> bool:
        """Likewise, of a request. Such a one is answered by this node alone, so none goes in circles."""
        return self.is_from_node(request.headers.get(FORWARDED))

    def uploads(self, request: web.Request) -> Account:
        """What this request's body may hold of the node's memory."""
        principal = request.get(IDENTITY, NOBODY).principal
        return self.uploads_of(principal, address_of(request), from_node=self.is_passed_on(request))

    def uploads_of(self, principal: str, address: str, *, from_node: bool) -> Account:
        """Likewise, for the fast path."""
        party = address if principal in NOBODY_IN_PARTICULAR else principal
        account = self.broker.uploads(party, from_node=from_node)
        if self.service.quotas.are_set:
            account.quota = self.service.quotas.inflight_bytes(principal)
        return account

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
        self.service.passwords.close()
        sessions = (self._session, self._patient_session)
        self._session = self._patient_session = None
        for session in sessions:
            if session is not None:
                await session.close()

    def next_request_id(self) -> str:
        """Unique among all processes: the node's name, a random part per start, and a counter."""
        return f"{self.broker.node_id}-{self._run}-{next(self._ids):x}"

    def task_ends_with_connection(self, request: web.Request) -> EndsWithConnection:
        """Within it the handler is cancelled when its client leaves. Only for what stores nothing."""
        return EndsWithConnection(request.protocol)

    def count_sent(self, who: RequestContext, count: int) -> None:
        """Records of so many bytes are sent to who asked for them."""
        if self.service.quotas.are_set:
            self.service.quotas.sent(who, count)

    def hold_for(self, who: RequestContext) -> Hold:
        """What the answer to a request will hold of the memory for answers; for a with-block."""
        party = who.address if who.principal in NOBODY_IN_PARTICULAR else who.principal
        return self.service.answers.hold(party)


CONTEXT: Final = web.AppKey("floodmark_context", HttpContext)
