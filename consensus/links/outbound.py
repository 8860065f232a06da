"""The connection that this node makes to one peer, kept up for as long as the peer is known.

Only our messages travel on it; what the peer has to say comes on the connection that it makes to us. So every
direction is a connection of its own, and a fault can be put on each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from floodmark.transport.pacing import jittered_delay_s

from consensus.links.dialed import DialedConnection
from consensus.links.dialing import Address, is_refused, welcomed_at
from consensus.links.fair_queue import FairQueue, Routed
from consensus.links.framing import BODY_BYTES_MAX, HEADER_BYTES_MAX, Beat, pack_beat, pack_prefix
from consensus.links.handshake import HandshakeFailed, TlsFailed
from consensus.links.link_tls import OUTDATED, Credentials
from consensus.links.link_types import LinkContext, Peer, Reception
from consensus.wire import NEWEST_VERSION, SINCE, Buffer, encode_packet, size_of

_PACKET_MESSAGES_MAX = 1_024
_PACKET_BYTES_AIM = 256 << 10
"""Of messages that had to wait; one alone may be larger."""
_SMALL_BYTES = 4 << 10
"""Messages up to this size do not wait for larger ones of other groups."""

_CERTAIN = 5
"""So many attempts in a row that end when TLS begins are no accident."""


class OutgoingLink:
    """Dials, authenticates, sends, notices when nothing gets through, and dials again."""

    def __init__(
        self,
        context: LinkContext,
        peer: Peer,
        addresses: Sequence[Address],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.peer = peer
        self.addresses = tuple(addresses)
        """Where it may be: the first one, and after a failure the next."""
        self.up = False
        """Authenticated, and the queue is within its bound: messages can be sent."""
        self._stopped = False
        self._context = context
        self._refused = refused
        """Called when nobody listens at any of them."""
        self._connection: DialedConnection | None = None
        self._failures = 0
        self._nobody_there = 0
        """Attempts in a row at which nobody listened."""
        self._used: Address | None = None
        self._waiting = FairQueue()
        """Empty unless the connection is full."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link to {peer.node_id}")

    @property
    def address(self) -> Address:
        """Where it was found last, or is looked for first."""
        return self._used or self.addresses[0]

    @property
    def credentials(self) -> Credentials | None:
        """By what the connection that stands was proved."""
        return self._connection.credentials if self._connection is not None else None

    @property
    def queue_bytes(self) -> int:
        """Bytes handed over for this peer that the operating system has not taken yet."""
        return self._waiting.size + (self._connection.queue_bytes if self._connection else 0)

    def send(self, messages: Sequence[Routed]) -> None:
        """Send messages of any number of groups; dropped unless ``up``."""
        connection = self._connection
        if not self.up or connection is None:
            self.peer.messages_dropped += len(messages)
            return
        if connection.version < NEWEST_VERSION:
            messages = self._known_to(connection.version, messages)
        if not messages:
            return
        self.peer.messages_sent += len(messages)
        if not connection.full and len(messages) == 1:
            self._write_packet(messages)
        else:
            self._queue(messages, connection)

    def _known_to(self, version: int, messages: Sequence[Routed]) -> Sequence[Routed]:
        """Without those that a peer of this version of the protocol does not know."""
        known = [routed for routed in messages if SINCE.get(type(routed[1]), 0) <= version]
        self.peer.messages_dropped += len(messages) - len(known)
        return known

    def _queue(self, messages: Sequence[Routed], connection: DialedConnection) -> None:
        """What is small goes ahead of what is not, but for that of its own group."""
        sizes = [size_of(message) for _, message in messages]
        if not connection.full and sum(sizes) <= _PACKET_BYTES_AIM and len(messages) <= _PACKET_MESSAGES_MAX:
            self._write_packet(messages)
            return
        ahead: list[Routed] = []
        for routed, size in zip(messages, sizes, strict=True):
            if size <= _SMALL_BYTES and routed[0] not in self._waiting:
                ahead.append(routed)
            else:
                self._waiting.put(routed, size)
        for begin in range(0, len(ahead), _PACKET_MESSAGES_MAX):
            self._write_packet(ahead[begin : begin + _PACKET_MESSAGES_MAX])
        self._write_waiting(connection)
        if self.queue_bytes > self._context.options.queue_bytes_max:
            self.peer.queue_full += 1
            self._context.log.warning("peer_queue_full", peer=self.peer.node_id, bytes=self.queue_bytes)
            self._set_up(up=False)

    def _write_waiting(self, connection: DialedConnection) -> None:
        while self._waiting and not connection.full:
            self._write_packet(self._waiting.take(_PACKET_BYTES_AIM))

    def _write_packet(self, messages: Sequence[Routed]) -> None:
        packed, *buffers = encode_packet(messages)
        header, body = len(packed), sum(map(len, buffers))
        if header <= HEADER_BYTES_MAX and body <= BODY_BYTES_MAX:
            self._write(pack_prefix(header, body) + packed, buffers, body)
        elif len(messages) > 1:
            middle = len(messages) // 2
            self._write_packet(messages[:middle])
            self._write_packet(messages[middle:])
        else:
            self.peer.messages_dropped += 1
            self._context.log.warning(
                "message_too_large", peer=self.peer.node_id, group=messages[0][0], bytes=header + body
            )

    def _write(self, head: bytes, body: Sequence[Buffer], body_bytes: int) -> None:
        """Lengths and header, and a body that is not copied."""
        if self._connection is not None:
            self.peer.packets_sent += 1
            self.peer.bytes_sent += self._connection.write(head, body, body_bytes)

    def beat(self, now: float, late: float) -> None:
        """Send a beat, and give the connection up when beats do not get through though the peer lives.

        ``late`` is for how long this process did not come to look: echoes may wait to be read.
        """
        if self._connection is None:
            return
        if self._connection.stuck(now, late, self.peer, self._context.options.dead_after_s):
            self._context.log.warning("peer_link_stuck", peer=self.peer.node_id)
            self._connection.abort()
            return
        if not self.up:
            return
        self.peer.beat_sent += 1
        context = self._context
        beat = Beat(self.peer.beat_sent, self.peer.beat_seen, context.wall_ms(), context.hooks.boot())
        head, body = pack_beat(beat)
        self._write(head, (body,), len(body))

    def redial(self, addresses: Sequence[Address]) -> None:
        """Use other addresses from now on. Where the first is another one, it is dialled."""
        before, self.addresses = self.addresses[0], tuple(addresses)
        if self.addresses[0] == before:
            return
        self._failures = 0
        if self._connection is not None and self._used != self.addresses[0]:
            self._connection.abort()

    def sever(self) -> None:
        """Close at once; what is queued does not leave."""
        self._task.cancel()
        self._set_up(up=False)
        if self._connection is not None:
            self._connection.abort()

    def stop(self) -> Coroutine[Any, Any, None]:
        """Let what is queued leave for a moment, then close, which what this returns does.

        The link is down, for good, as soon as this returns: another one may take its place.
        """
        connection = self._connection
        if connection is not None:
            while self._waiting:
                self._write_packet(self._waiting.take(_PACKET_BYTES_AIM))
        self._task.cancel()
        self._set_up(up=False)
        self._stopped = True
        return self._close(connection)

    async def _close(self, connection: DialedConnection | None) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if connection is not None:
            await connection.close(within_s=0.5)

    async def _run(self) -> None:
        while True:
            try:
                self._connection = await self._dial()
            except (OSError, HandshakeFailed) as error:
                self._failures += 1
                self._tell_of_tls(error)
                self.peer.connect_failures += 1
                reason = str(error) or type(error).__name__
                self._context.log.warning("peer_unreachable", peer=self.peer.node_id, reason=reason)
                self._nobody_there = self._nobody_there + 1 if is_refused(error) else 0
                if self._nobody_there >= len(self.addresses):
                    self._refused()
            else:
                self._failures = self._nobody_there = 0
                self.peer.connects += 1
                self.peer.version = self._connection.version
                self._context.log.info("peer_connected", peer=self.peer.node_id, protocol=self.peer.version)
                self._set_up(up=True)
                await asyncio.shield(self._connection.lost)
                self._connection = None
                self.peer.messages_dropped += self._waiting.clear()
                self._set_up(up=False)
            await asyncio.sleep(self._pause_s())

    def _tell_of_tls(self, error: Exception) -> None:
        """A node that stops ends connections at any time: that alone says nothing of its TLS."""
        if isinstance(error, TlsFailed) and (error.is_certain or self._failures >= _CERTAIN):
            reason = f"no link to {self.peer.node_id} at {':'.join(map(str, self._used or ()))}: {error}"
            self._context.hooks.tls_refused(self.peer.node_id, reason)

    def drop_if_outdated(self) -> None:
        """Make the connection again where its credentials count no more."""
        connection = self._connection
        if connection is not None and not self._context.counts(connection.credentials):
            self._context.log.warning("peer_link_outdated", peer=self.peer.node_id, reason=OUTDATED)
            connection.abort()

    def _pause_s(self) -> float:
        options = self._context.options
        return jittered_delay_s(
            self._failures, first_s=options.reconnect_min_s, longest_s=options.reconnect_max_s
        )

    async def _dial(self) -> DialedConnection:
        context, peer = self._context, self.peer.node_id
        self._used = self.addresses[self._failures % len(self.addresses)]
        connection, claim = await welcomed_at(context, self._used, peer, self)
        if not context.hooks.on_hello(peer, claim.incarnation):
            connection.abort()
            raise HandshakeFailed(f"incarnation {claim.incarnation} of {peer} is not welcome")
        reception = context.hooks.on_announcement(peer, claim.announcement)
        if reception is not Reception.WELCOME:
            connection.abort()
            raise HandshakeFailed(f"what {peer} said of itself: {reception.name.lower()}")
        return connection

    def queue_drained(self) -> None:
        """What waits may go on; the connection calls this."""
        if self._connection is not None:
            self._write_waiting(self._connection)
            if self._waiting.size <= self._context.options.queue_bytes_max // 4:
                self._set_up(up=True)

    def _set_up(self, *, up: bool) -> None:
        if self.up != up and not self._stopped:
            self.up = up
            hooks = self._context.hooks
            if up:
                hooks.peer_up(self.peer.node_id, self.peer.version)
            else:
                hooks.peer_down(self.peer.node_id)
