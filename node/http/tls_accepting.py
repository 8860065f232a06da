"""Accepts connections at a port that speaks TLS.

A connection has its place, and its time for a handshake, from the moment it is accepted, as one has that
sends a head without TLS: otherwise strangers could hold as many as they like. What does not begin like TLS is
told so, in plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog
from floodmark.errors import FloodmarkError, InvalidRequest

from consensus.links.accept_loop import AcceptLoop
from node.http import problems
from node.http.admission import Admission, Place
from node.http.connection import Connection

_TELL_EVERY_S: Final = 10.0
_TLS_HANDSHAKE: Final = b"\x16"
"""The first byte of TLS."""
_PEEK_BYTES: Final = 4096
_SHUTDOWN_S: Final = 2.0
"""How long a client may take to answer the end of TLS."""
_log = structlog.get_logger(__name__)


class TlsSource(Protocol):
    """The certificate of this node, and whom it trusts: what its files say now."""

    @property
    def context(self) -> ssl.SSLContext:
        """Another object after each change. It is asked at each handshake."""

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Whether the certificate of a client that is connected would be taken now, as to its CA."""


class TlsAccepting:
    """Accepts at ``listening``, sockets that are bound."""

    def __init__(
        self,
        listening: Iterable[socket.socket],
        tls: TlsSource,
        connection: Callable[[], Connection],
        admission: Admission,
        *,
        handshake_timeout_s: float,
        dropped: Callable[[str], None],
    ) -> None:
        self.tls = tls
        self.connection = connection
        self.admission = admission
        self.handshake_timeout_s = handshake_timeout_s
        self.arriving: set[_Arrival] = set()
        """Those whose handshake is under way."""
        self._dropped = dropped
        self._told_at = -math.inf
        self._untold = 0
        self._clock = asyncio.get_running_loop().time
        self._loop = AcceptLoop(listening, self._admit)

    def stop(self) -> None:
        """Accept nothing more, and give up handshakes that are under way."""
        self._loop.close()
        for arrival in list(self.arriving):
            arrival.drop()

    def failed(self, address: str, why: str, hint: str = "") -> None:
        """A handshake has failed: told once in a while, whoever tries how often."""
        self._dropped("tls_handshake")
        now = self._clock()
        if now - self._told_at < _TELL_EVERY_S:
            self._untold += 1
            return
        more = {"hint": hint} if hint else {}
        _log.warning("tls_handshake_failed", address=address, reason=why, untold=self._untold, **more)
        self._told_at, self._untold = now, 0

    def _admit(self, accepted: socket.socket, address: str) -> None:
        refusal = self.admission.admit(address, accepted.fileno())
        place = Place.USUAL
        if refusal is not None:
            if not self.admission.admit_spare():
                accepted.close()
                return
            place = Place.SPARE
        _Arrival(self, accepted, address, place, refusal).begin()


class _Arrival:
    """A connection from when it was accepted until TLS stands on it."""

    def __init__(
        self,
        accepting: TlsAccepting,
        accepted: socket.socket,
        address: str,
        place: Place,
        spare_for: FloodmarkError | None,
    ) -> None:
        self._accepting = accepting
        self._address = address
        self._place = place
        self._spare_for = spare_for
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(accepting.handshake_timeout_s, self._too_slow)
        self._socket: socket.socket | None = accepted
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def begin(self) -> None:
        """Wait for the first byte."""
        assert self._socket is not None
        self._accepting.arriving.add(self)
        self._loop.add_reader(self._socket, self._look)

    def drop(self) -> None:
        """Close at once."""
        if not self._is_over:
            self._end()
            self._accepting.admission.release(self._address, self._place)
            if self._task is not None:
                self._task.cancel()
            if self._socket is not None:
                self._loop.remove_reader(self._socket)
                self._socket.close()

    def _end(self) -> None:
        self._is_over = True
        self._timer.cancel()
        self._accepting.arriving.discard(self)

    def _too_slow(self) -> None:
        self._fail(f"it took longer than {self._accepting.handshake_timeout_s:g} s")

    def _fail(self, why: str, hint: str = "") -> None:
        if not self._is_over:
            self._accepting.failed(self._address, why, hint)
            self.drop()

    def _look(self) -> None:
        accepted = self._socket
        assert accepted is not None
        try:
            first = accepted.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self.drop()
        elif first == _TLS_HANDSHAKE:
            self._loop.remove_reader(accepted)
            self._socket = None
            self._task = self._loop.create_task(self._connect(accepted))
        else:
            answer = problems.raw_answer(InvalidRequest("this port speaks TLS: ask for https://"))
            with contextlib.suppress(OSError):
                # What waits is taken first: otherwise the answer would be thrown away at the other end.
                accepted.recv(_PEEK_BYTES)
                accepted.send(answer)
            self._fail("the client does not speak TLS", hint="it has to use https://")

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connection,
                accepted,
                ssl=self._accepting.tls.context,
                # Longer than the timer here leaves it.
                ssl_handshake_timeout=self._accepting.handshake_timeout_s + 1,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except ConnectionError:
            accepted.close()
            self.drop()  # It has left again.
        except OSError as error:
            accepted.close()
            self._fail(_explained(error), _hint(error))

    def _connection(self) -> Connection:
        connection = self._accepting.connection()
        connection.before_made = self._passed
        return connection

    def _passed(self, connection: Connection) -> None:
        """TLS stands: from now on the place is the connection's."""
        if not self._is_over:
            self._end()
            connection.take_place(self._address, self._place, self._spare_for)


def _explained(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not taken: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return str(error)


def _hint(error: OSError) -> str:
    text = str(error)
    if "CERTIFICATE_UNKNOWN" in text or "UNKNOWN_CA" in text:
        return "the client does not trust this node's certificate: it needs the file of the CA"
    if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in text:
        return "http.tls.client_auth is required: the client has to show a certificate"
    return ""
