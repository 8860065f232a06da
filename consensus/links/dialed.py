"""One connection that this node has made: it proves itself, then only sends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Protocol, cast

from consensus.links.bulk_connection import BulkConnection
from consensus.links.handshake import (
    CHALLENGE_BYTES,
    WELCOME_BYTES,
    Dialing,
    HandshakeFailed,
    PeerClaim,
    TlsFailed,
)
from consensus.links.link_tls import ONLY_TLS, ClosedAfterTls, Credentials, check, explained, tls_of
from consensus.links.link_types import HandshakeBuffer, LinkOptions, Peer
from consensus.links.seal import MARK_BYTES, Seal
from consensus.wire import Buffer

_PROGRESS_BYTES = 4096
_FULL_BYTES = 1 << 20
"""What waits for the operating system goes in order, so small messages wait for all of it."""


class QueueOwner(Protocol):
    """Who wants to know how full the queue is."""

    def queue_drained(self) -> None:
        """The connection is not full any more."""


class DialedConnection(asyncio.BufferedProtocol):
    """``welcomed`` ends the handshake, ``lost`` the connection. After the welcome nothing may come on it.

    ``full``: what is written now waits behind some hundred kilobytes at least. ``bulk`` takes the connection
    over at the welcome, where it is one for that.
    """

    def __init__(
        self,
        dialing: Dialing,
        options: LinkOptions,
        owner: QueueOwner,
        bulk: BulkConnection | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[PeerClaim] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.full = False
        self.version = 0
        """Of the peer protocol, once ``welcomed``."""
        self.credentials = Credentials(dialing.secret)
        self.certified = ""
        """The node that the other side's certificate names; "" without TLS."""
        self._dialing = dialing
        self._options = options
        self._owner = owner
        self._bulk = bulk
        self._answered = False
        self._seal: Seal | None = None
        self._greeting = HandshakeBuffer()
        self._greeting.expect(CHALLENGE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._written = 0
        self._probe: tuple[int, float, int] | None = None
        """A beat that waits for its echo: its number, when it left, and how many bytes had left before."""

    @property
    def queue_bytes(self) -> int:
        """What the operating system has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def write(self, head: bytes, body: Sequence[Buffer], body_bytes: int) -> int:
        """Queue one packet, its body's buffers as they are; dropped once the connection is lost. Its size."""
        size = len(head) + body_bytes + MARK_BYTES
        if self._transport is not None:
            assert self._seal is not None, "nothing is sent before the welcome"
            self._written += size
            self._transport.writelines([head, *body, self._seal.mark(head, body, body_bytes)])
        return size

    def stuck(self, now: float, late: float, peer: Peer, dead_after_s: float) -> bool:
        """Whether our beats stay unanswered while the peer is heard and nothing of the queue moves."""
        left = self._written - self.queue_bytes
        if self._probe is not None:
            number, since, left_before = self._probe
            since += late
            if peer.beat_echoed >= number or left - left_before > _PROGRESS_BYTES:
                self._probe = None
            elif now - since > dead_after_s:
                return not peer.silent
            else:
                self._probe = (number, since, left_before)
        if self._probe is None:
            self._probe = (peer.beat_sent + 1, now, left)
        return False

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self, *, within_s: float) -> None:
        """Close once what is queued has left, or the time is over."""
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.lost], timeout=within_s)
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        # uvloop's transports are of no class of asyncio, so there is nothing to assert here.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_FULL_BYTES, low=_FULL_BYTES // 4)
        tune(self._transport, self._options.dead_after_s)
        if (tls := tls_of(transport)) is not None:
            self.credentials = Credentials(self._dialing.secret, tls)
            try:
                self.certified = check(tls, self._dialing.cluster_id, self._dialing.target)
            except TlsFailed as error:  # It hears nothing of us.
                self._fail(error)
                self.abort()
                return
        self._transport.write(self._dialing.hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        if not self.welcomed.done():
            self._fail(self._why(exc))
        if not self.lost.done():
            self.lost.set_result(None)

    def _why(self, lost: Exception | None) -> HandshakeFailed:
        if isinstance(lost, ssl.SSLError):
            return explained(lost)
        received = self._greeting.received(0)
        if received == ONLY_TLS and self.credentials.tls is None:
            return TlsFailed("it takes TLS only: here peer.tls.mode has to be prefer or require")
        if not received and not self._answered and self.credentials.tls is not None:
            return ClosedAfterTls(
                "it may not take this node's certificate: its log says why it closed the link"
            )
        return HandshakeFailed("the peer closed the connection; its log says why")

    def _fail(self, error: HandshakeFailed) -> None:
        self.welcomed.set_exception(error)
        self.welcomed.exception()  # Whoever dialled may have given up: then it is nobody's to look at.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Never more than the next part of the handshake."""
        if self.welcomed.done():
            self._greeting.expect(1)
        return self._greeting.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the handshake, or some that have no place here."""
        received = self._greeting.received(nbytes)
        if self.welcomed.done():
            self.abort()
        elif self._greeting.whole:
            try:
                self._greet(received)
            except HandshakeFailed as error:
                self._fail(error)
                self.abort()

    def pause_writing(self) -> None:
        """Called by the transport."""
        self.full = True

    def resume_writing(self) -> None:
        """Called by the transport."""
        self.full = False
        self._owner.queue_drained()

    def _greet(self, received: bytes) -> None:
        assert self._transport is not None
        if self._answered:
            claim = self._dialing.check(received)
            self._seal = Seal(self._dialing.key)
            self.version = self._dialing.version
            if self._bulk is not None:
                transport, self._transport = self._transport, None
                self._bulk.credentials = self.credentials
                self._bulk.begin(transport, ours=self._dialing.key, theirs=self._dialing.key_back)
            self.welcomed.set_result(claim)
            return
        self._transport.write(self._dialing.answer(received))
        self._answered = True
        self._greeting.expect(WELCOME_BYTES)


def tune(transport: asyncio.Transport, dead_after_s: float) -> None:
    """No delay for small packets, and no minutes of waiting for an acknowledgement that never comes."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_after_s * 1000))
