"""Accepting connections at a port that takes TLS, and, while it is only preferred, plain links as well.

The first byte says which of the two has come. It is looked at and left where it is, and only then the socket
is handed to the event loop, with TLS or without.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Final, Protocol

from consensus.links.accept_loop import AcceptLoop
from consensus.links.handshake import HELLO_BYTES, TLS_HANDSHAKE
from consensus.links.link_tls import ONLY_TLS, SHUTDOWN_S, LinkTls, explained
from consensus.links.link_types import LinkContext

_BACKLOG: Final = 100


class TlsOwner(Protocol):
    """Who has the port."""

    context: LinkContext

    def opened(self, arrival: Arrival) -> None:
        """One more handshake is under way."""

    def left(self, arrival: Arrival) -> None:
        """It is over, or goes on as that of a link."""

    def link(self, arrival: Arrival) -> asyncio.BufferedProtocol:
        """What the connection becomes; its ``connection_made`` calls ``arrival.passed``."""

    def refused(self, host: str, reason: str) -> None:
        """A connection from there was closed, because of TLS."""


async def listen_with_tls(host: str, port: int, tls: LinkTls, owner: TlsOwner) -> TlsAccepting:
    """Listen at all addresses that the name stands for."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listening: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            listening.append(_listening(family, address))
    except OSError as error:
        for each in listening:
            each.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return TlsAccepting(listening, tls, owner)


def _listening(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)  # noqa: FBT003 - the name of the standard library's parameter is none
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


class TlsAccepting:
    """Takes what comes at listening sockets."""

    def __init__(self, listening: list[socket.socket], tls: LinkTls, owner: TlsOwner) -> None:
        self.tls = tls
        self.owner = owner
        bound = listening[0].getsockname()
        self.address = (str(bound[0]), int(bound[1]))
        """The first that was bound."""
        self._loop = AcceptLoop(listening, self._accepted, self._failed)

    def close(self) -> None:
        """Close the port. Handshakes that are under way are their owner's."""
        self._loop.close()

    def _accepted(self, accepted: socket.socket, host: str) -> None:
        Arrival(self, accepted, host).begin()

    def _failed(self, error: OSError) -> None:
        context = {"message": "accept() failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


class Arrival:
    """A connection from when it was accepted until TLS stands on it, or it is known to be without."""

    def __init__(self, accepting: TlsAccepting, accepted: socket.socket, host: str) -> None:
        self._accepting = accepting
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + accepting.owner.context.options.handshake_timeout_s
        """By which its dialer has to be authenticated, on the loop's clock."""
        self._timer = self._loop.call_at(self.deadline, self.refuse, "the handshake took too long")
        self._socket: socket.socket | None = accepted
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def begin(self) -> None:
        """Wait for the first byte."""
        assert self._socket is not None
        self._loop.add_reader(self._socket, self._look)
        self._accepting.owner.opened(self)

    def refuse(self, reason: str) -> None:
        """Close at once and tell the log why."""
        if not self._is_over:
            self._accepting.owner.context.log.warning(
                "peer_connection_refused", peer=self._host, reason=reason
            )
            self.drop()

    def _refuse_for_tls(self, reason: str) -> None:
        if not self._is_over:
            self._accepting.owner.refused(self._host, reason)
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        if self._is_over:
            return
        self.passed()
        if self._task is not None:
            self._task.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def passed(self) -> None:
        """Nothing is left to do here."""
        self._is_over = True
        self._timer.cancel()
        self._accepting.owner.left(self)

    def _look(self) -> None:
        assert self._socket is not None
        try:
            first = self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self.drop()
        elif first == TLS_HANDSHAKE:
            self._hand_over(self._accepting.tls.server)
        elif not self._accepting.tls.is_required:
            self._hand_over(None)
        else:
            with contextlib.suppress(OSError):
                # What waits is taken first: otherwise the answer would be thrown away at the other end.
                self._socket.recv(HELLO_BYTES)
                self._socket.send(ONLY_TLS)
            self._refuse_for_tls("the dialer does not speak TLS, and here peer.tls.mode is require")

    def _hand_over(self, context: ssl.SSLContext | None) -> None:
        assert self._socket is not None
        self._loop.remove_reader(self._socket)
        self._task = self._loop.create_task(self._connect(self._socket, context))

    async def _connect(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        self._socket = None  # Closed here from now on; not earlier, for a task may end before it begins.
        limits = {}
        if context is not None:
            # Longer than the timer here leaves it.
            handshake_s = self._accepting.owner.context.options.handshake_timeout_s + 1
            limits = {"ssl_handshake_timeout": handshake_s, "ssl_shutdown_timeout": SHUTDOWN_S}
        owner = self._accepting.owner
        try:
            await self._loop.connect_accepted_socket(
                lambda: owner.link(self), accepted, ssl=context, **limits
            )
        except ConnectionError:
            accepted.close()
            self.drop()  # It has left again.
        except OSError as error:
            accepted.close()
            self._refuse_for_tls(f"TLS with the dialer failed: {explained(error)}")
