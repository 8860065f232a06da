"""HTTP: one request to one node, and the same request until it is answered or its deadline has passed.

Everything that can go wrong leaves here as an error of the tree. ``TransportError`` says in its field
``sent`` whether the request may have reached a node, and so does an ``Unavailable`` that comes from a proxy.
The field ``repeated`` of any error says that an earlier try may have been carried out.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
import yarl

from floodmark.errors import (
    CredentialsUnconfirmed,
    FloodmarkError,
    OutcomeUnknown,
    ServerError,
    TransportError,
)
from floodmark.home import Home
from floodmark.transport.credentials import Credentials, Token
from floodmark.transport.fast_http import FastAnswer, FastHttp, NotConnected
from floodmark.transport.nodes import LEADER_HEADER, Nodes
from floodmark.transport.pacing import Backoff, Deadline
from floodmark.transport.problems import error_of
from floodmark.transport.tls import MAYBE_OURS, TlsOptions, failure_of

T = TypeVar("T")
_CONNECT_TIMEOUT_S: Final = 3.0
_FIRST_CONNECTION_S: Final = 2.0
"""How long to try nodes none of which ever answered: more likely a wrong URL than a slow cluster."""
_FIRST_TRIES: Final = 2
"""But so often at least: all of that time may have passed while this program was held up."""
_LARGE_BYTES: Final = 1 << 20
UNAUTHORIZED: Final = 401
_UNCONFIRMED_MAX: Final = 4
BATCH_MEDIA_TYPE: Final = "application/vnd.floodmark.batch;v=1"
#: How much longer to wait for an answer than the time limit that the node was given.
GRACE_S: Final = 1.0
_USER_AGENT: Final = "floodmark-python"


class Answer(msgspec.Struct, frozen=True):
    """A successful answer, read to its end. ``repeated``: an earlier try may have been carried out too."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray
    repeated: bool = False

    def convert(self, cls: type[T]) -> T:
        """The JSON body as an object of ``cls``. Raises ``ServerError`` when it does not fit."""
        try:
            return msgspec.json.decode(self.body, type=cls)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"the answer cannot be understood: {error}") from error


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask. ``route`` groups requests that one leader answers. ``repeatable``: doing it twice is
    the same as doing it once, so that it may be sent again when the outcome is unknown. ``fast``: a GET
    whose answer may be large, or a repeatable POST of few bytes, which may go around aiohttp."""

    method: str
    path: str
    query: Mapping[str, str | int] = {}
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    route: str | None = None
    repeatable: bool = True
    fast: bool = False


class Transport:
    """The connections of one client."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        request_timeout_s: float,
        token: Token | None = None,
        tls: TlsOptions | None = None,
    ) -> None:
        self._credentials = Credentials(token)
        self._tls = tls or TlsOptions()
        self.nodes = Nodes(self._tls.check_urls(urls))
        self.request_timeout_s = request_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._fast_http = FastHttp(_USER_AGENT, self._tls)
        self.home = Home()
        self._was_reached = False

    async def call(
        self, request: Request, deadline: Deadline, *, attempt_timeout_s: float | None = None
    ) -> Answer:
        """Ask until there is an answer, moving from node to node and retrying errors that may pass.

        Raises what the last try raised once the deadline has passed; ``OutcomeUnknown`` if a request that
        is not repeatable may have been done. An error has the field ``repeated`` when an
        earlier try may have been carried out.
        """
        backoff = Backoff()
        repeated, tries = False, 0
        first = Deadline(min(_FIRST_CONNECTION_S, deadline.timeout_s))
        while True:
            tries += 1
            try:
                answer = await self.attempt(
                    request, min(attempt_timeout_s or self.request_timeout_s, deadline.remaining_s)
                )
                return msgspec.structs.replace(answer, repeated=True) if repeated else answer
            except FloodmarkError as error:
                if repeated:
                    error.fields["repeated"] = True
                is_open = isinstance(error, OutcomeUnknown) or bool(error.fields.get("sent"))
                if error.retriable and is_open and not request.repeatable:
                    raise OutcomeUnknown(f"it may or may not have been done: {error.detail}") from error
                repeated = repeated or is_open
                if not (error.retriable or (request.repeatable and isinstance(error, OutcomeUnknown))):
                    raise
                delay_s = backoff.next_delay_s(error.retry_after_s)
                is_dead = isinstance(error, TransportError)
                if is_dead and self.nodes.has_alternative():
                    delay_s = 0.0
                elif is_dead and self._is_hopeless(error, is_tried=first.expired and tries >= _FIRST_TRIES):
                    raise
                if delay_s >= deadline.remaining_s:
                    raise
                await asyncio.sleep(delay_s)
                if deadline.expired:  # It took longer; another try could only say that there was no time.
                    raise

    def _is_hopeless(self, error: FloodmarkError, *, is_tried: bool) -> bool:
        """Whether nobody was ever reached, and more tries would not help."""
        if self._was_reached or error.fields.get("sent"):
            return False
        return is_tried or bool(error.fields.get("tls"))

    async def attempt(self, request: Request, timeout_s: float) -> Answer:
        """Ask one node once, within ``timeout_s``; others too, where it cannot tell who is asking.

        Raises errors of the tree only.
        """
        self.home.check()
        for _ in range(_UNCONFIRMED_MAX):
            try:
                return await self._attempt(request, timeout_s)
            except CredentialsUnconfirmed:
                if not self.nodes.has_alternative():
                    raise
        return await self._attempt(request, timeout_s)

    async def _attempt(self, request: Request, timeout_s: float) -> Answer:
        url = self.nodes.pick(request.route)
        credentials = await self._credentials.headers()
        answer, repeated = await self._ask_node(url, _with(request, credentials), timeout_s)
        if answer.status == UNAUTHORIZED:
            others = await self._credentials.headers_after(credentials)
            if others is not None:
                answer, repeated = await self._ask_node(url, _with(request, others), timeout_s)
        self._was_reached = True
        error = None if answer.status < 300 else error_of(answer.status, answer.headers, answer.body)
        if error is not None and repeated:
            error.fields["repeated"] = True
        if isinstance(error, CredentialsUnconfirmed):
            self.nodes.failed(url, request.route)
            raise error
        leader = answer.headers.get(LEADER_HEADER)
        self.nodes.answered(url, request.route, leader)
        if error is None:
            return answer
        if error.retriable and leader is None:
            self.nodes.forget_leader(request.route)
        raise error

    async def _ask_node(self, url: str, request: Request, timeout_s: float) -> tuple[Answer, bool]:
        """The node's answer, and whether an earlier try may have been carried out."""
        repeated = False
        answer: Answer | None = None
        try:
            if request.fast and self._fast_http.can(url):
                answer = await self._exchange_fast(url, request, timeout_s)
                repeated = answer is None and request.method != "GET"
            if answer is None:
                answer = await self._exchange(url, request, timeout_s)
        except TransportError as failure:
            self.nodes.failed(url, request.route)
            if repeated:
                failure.fields["repeated"] = True
            raise
        return answer, repeated

    async def _exchange(self, url: str, request: Request, timeout_s: float) -> Answer:
        target = yarl.URL(url + request.path + _query(request.query), encoded=True)
        timeout = aiohttp.ClientTimeout(total=max(timeout_s, 0.001), sock_connect=self._connect_timeout_s)
        try:
            async with self._open_session().request(
                request.method,
                target,
                data=_payload(request.body),
                headers=request.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _not_connected(url, error, _reason(error)) from error
        except TimeoutError as error:
            raise TransportError(f"{url} did not answer within {timeout_s:.1f} s", sent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken_off(url, error, was_reached=self._was_reached) from error

    async def _exchange_fast(self, url: str, request: Request, timeout_s: float) -> Answer | None:
        """None if the answer does not look like a node's: aiohttp then asks again, and for all later
        requests."""
        try:
            async with asyncio.timeout(max(timeout_s, 0.001)):
                found = await self._ask_fast(url, request.path + _query(request.query), request)
        except NotConnected as error:
            raise _not_connected(url, error, str(error)) from error
        except TimeoutError as error:
            raise TransportError(f"{url} did not answer within {timeout_s:.1f} s", sent=True) from error
        except OSError as error:
            raise _broken_off(url, error, was_reached=self._was_reached) from error
        return None if found is None else Answer(found.head.status, found.head.headers, found.body)

    async def _ask_fast(self, url: str, target: str, request: Request) -> FastAnswer | None:
        headers, body = request.headers, request.body
        if body is None:
            return await self._fast_http.get(url, target, headers, connect_timeout_s=self._connect_timeout_s)
        return await self._fast_http.post(
            url, target, headers, body, connect_timeout_s=self._connect_timeout_s
        )

    @property
    def _connect_timeout_s(self) -> float:
        return _CONNECT_TIMEOUT_S if self._was_reached else _FIRST_CONNECTION_S

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ttl_dns_cache=10, ssl=self._tls.context if self._tls.is_required else True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _USER_AGENT},
            )
            # aiohttp would silently repeat a request whose connection breaks; we must know that it did.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session

    async def close(self) -> None:
        """Close all connections; requests that are under way fail.

        In another process or event loop they must not be touched: a forked child shares the connections.
        """
        is_here = self.home.is_here
        self.home.is_closing = self.home.is_closed = True
        if not is_here:
            return
        self._fast_http.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _with(request: Request, headers: Mapping[str, str]) -> Request:
    return msgspec.structs.replace(request, headers={**request.headers, **headers}) if headers else request


def _not_connected(url: str, error: BaseException, reason: str) -> TransportError:
    """Nothing was sent. ``tls``: nor would anything be by another try, since the two sides do not agree."""
    if (about_tls := failure_of(error)) is not None:
        return TransportError(f"no connection to {url}: {about_tls}", sent=False, tls=True)
    return TransportError(f"no connection to {url}: {reason}", sent=False)


def _broken_off(url: str, error: BaseException, *, was_reached: bool) -> TransportError:
    """Of a connection that stood. A node may refuse a certificate so late, but does nothing before."""
    if failure_of(error) is not None:
        return _not_connected(url, error, "")
    text = f"{url} broke off: {error or type(error).__name__}"
    if url.startswith("https:") and not was_reached:
        text += f"; {MAYBE_OURS}"
    return TransportError(text, sent=True)


def _reason(error: OSError | aiohttp.ClientError) -> str:
    """The system's words if there are any: aiohttp's talk about its own settings."""
    cause = getattr(error, "os_error", None)
    number = getattr(cause, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or "out of time"


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body is passed as a file, which aiohttp sends piece by piece; it warns about large bytes."""
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body


def _query(values: Mapping[str, str | int]) -> str:
    return "?" + urlencode(values) if values else ""
