"""Accepted connections: authenticated first, then read; at most one per peer counts, the newest."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from typing import cast

from consensus.links.bulk_connection import BulkConnection
from consensus.links.bulk_links import BulkLinks
from consensus.links.framing import Beat, FramingError, Packet, PacketReader, unpack_beat
from consensus.links.handshake import (
    HELLO_BYTES,
    PREFIX_BYTES,
    PROOF_BYTES,
    WHOEVER,
    Accepting,
    HandshakeFailed,
    NoCommonVersion,
    PeerClaim,
    TlsFailed,
)
from consensus.links.link_tls import OUTDATED, Credentials, check, tls_of
from consensus.links.link_types import HandshakeBuffer, LinkContext, Peer, Reception, remote_host
from consensus.links.seal import Seal
from consensus.links.tls_accepting import Arrival, TlsAccepting, listen_with_tls


class Listener:
    """Accepts the connections of all peers, and knows which one of each peer counts."""

    def __init__(
        self,
        context: LinkContext,
        peer: Callable[[str], Peer],
        heard: Callable[[Peer], None],
        bulk: BulkLinks,
    ) -> None:
        self.context = context
        self.peer = peer
        self.heard = heard
        self._bulk = bulk
        self._unauthenticated: dict[IncomingLink | Arrival, None] = {}
        self._current: dict[str, IncomingLink] = {}
        self._server: asyncio.Server | TlsAccepting | None = None
        self.stopped = False
        """Whoever was accepted in the turn before comes too late."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address that was bound."""
        loop = asyncio.get_running_loop()
        if self.context.tls is None:
            server = await loop.create_server(lambda: IncomingLink(self), host, port, reuse_address=True)
            self._server, bound = server, server.sockets[0].getsockname()
        else:
            self._server = await listen_with_tls(host, port, self.context.tls, self)
            bound = self._server.address
        return str(bound[0]), int(bound[1])

    def stop(self) -> None:
        """Close the port and all connections."""
        self.stopped = True
        if self._server is not None:
            self._server.close()
        for link in [*self._unauthenticated, *self._current.values()]:
            link.drop()

    def has(self, node_id: str) -> bool:
        """Whether a connection of this peer stands."""
        return node_id in self._current

    def drop(self, node_id: str) -> None:
        """Close a peer's connection, if there is one."""
        if (link := self._current.get(node_id)) is not None:
            link.drop()

    @property
    def unauthenticated(self) -> int:
        """Connections whose handshake is under way."""
        return len(self._unauthenticated)

    def opened(self, link: IncomingLink | Arrival) -> None:
        """Count a new connection; the oldest has to make room, so that idle strangers lock nobody out."""
        if len(self._unauthenticated) >= self.context.options.unauthenticated_max:
            next(iter(self._unauthenticated)).refuse("too many connections wait for authentication")
        self._unauthenticated[link] = None

    def left(self, arrival: Arrival) -> None:
        """TLS stands on it, or it is gone."""
        self._unauthenticated.pop(arrival, None)

    def link(self, arrival: Arrival) -> IncomingLink:
        """What a connection becomes once it is known whether it speaks TLS."""
        return IncomingLink(self, arrival)

    def refused(self, host: str, reason: str) -> None:
        """There is no TLS with whoever has dialled from there."""
        self.context.log.warning("peer_connection_refused", peer=host, reason=reason)
        self.context.hooks.tls_refused(WHOEVER, f"a connection from {host} was refused: {reason}")

    @property
    def credentials(self) -> Iterator[Credentials]:
        """By what those were proved that stand."""
        return (link.credentials for link in self._current.values())

    def drop_outdated(self) -> None:
        """Close connections that were proved by what does not count any more."""
        for link in list(self._current.values()):
            if not self.context.counts(link.credentials):
                link.refuse(OUTDATED)

    def closed(self, link: IncomingLink) -> None:
        """Forget a connection."""
        self._unauthenticated.pop(link, None)
        if link.claim is not None and self._current.get(link.claim.node_id) is link:
            del self._current[link.claim.node_id]

    def check(self, claim: PeerClaim) -> None:
        """Raises ``HandshakeFailed`` for a peer that is not welcome, or has made a newer connection since."""
        if not self.context.hooks.on_hello(claim.node_id, claim.incarnation):
            raise HandshakeFailed(f"incarnation {claim.incarnation} of {claim.node_id} is not welcome")
        older = self._current.get(claim.node_id)
        if (
            older is not None
            and older.claim is not None
            and older.claim.process == claim.process
            and older.claim.epoch >= claim.epoch
        ):
            raise HandshakeFailed("the peer has made a newer connection since")

    def bulk(self, claim: PeerClaim) -> BulkConnection:
        """What takes over a bulk connection of a peer. Raises ``HandshakeFailed`` unless its link stands."""
        link = self._current.get(claim.node_id)
        if link is None or link.claim is None or _folder(link.claim) != _folder(claim):
            raise HandshakeFailed("a bulk connection comes after the peer's own link")
        return self._bulk.accept(claim)

    def authenticated(self, link: IncomingLink, claim: PeerClaim) -> None:
        """Let a connection that ``check`` has let pass count from now on, in place of an older one."""
        older = self._current.get(claim.node_id)
        if older is not None:
            if older.claim is not None and _folder(older.claim) != _folder(claim):
                self._bulk.drop(claim.node_id)  # They are of a process that has ended.
            older.drop()
        self._unauthenticated.pop(link, None)
        self._current[claim.node_id] = link
        self.peer(claim.node_id).beat_seen = 0


class IncomingLink(asyncio.BufferedProtocol):
    """One accepted connection."""

    def __init__(self, listener: Listener, arrival: Arrival | None = None) -> None:
        self.claim: PeerClaim | None = None
        """Who the dialer says it is; true once the link is open."""
        self.version = 0
        """Of the peer protocol, once the link is open."""
        self.credentials = Credentials(b"")
        """Once the link is open."""
        self._listener = listener
        self._arrival = arrival
        self._context = listener.context
        self._accepting = Accepting(self._context.identity)
        self._greeting = HandshakeBuffer()
        self._greeting.expect(HELLO_BYTES)
        self._reader: PacketReader | None = None
        self._peer: Peer | None = None
        self._boot = 0
        """What the last beat told."""
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake's clock."""
        # uvloop's transports are of no class of asyncio, so there is nothing to assert here.
        self._transport = cast(asyncio.Transport, transport)
        self._tls = tls_of(transport)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._context.options.handshake_timeout_s
        if self._arrival is not None:
            deadline = self._arrival.deadline
            self._arrival.passed()
            self._arrival = None
        if self._listener.stopped:
            self.drop()
            return
        self._listener.opened(self)
        self._deadline = loop.call_at(deadline, self.refuse, "the handshake took too long")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nothing more comes."""
        self._transport = None
        self._end()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Never more than the next part of the handshake, before it has ended well."""
        return self._greeting.buffer() if self._reader is None else self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come. After ``drop`` nothing more is looked at, whatever the transport held."""
        if self._transport is None:
            return
        try:
            if self._reader is None:
                self._greet(self._greeting.received(nbytes))
            else:
                self._take(self._reader.received(nbytes), nbytes)
        except NoCommonVersion as error:
            self._warn(str(error))
            self._part(self._accepting.challenge())
        except TlsFailed as error:
            assert self.claim is not None
            self._listener.refused(remote_host(self._transport), f"{self.claim.node_id}: {error}")
            self.drop()
        except HandshakeFailed as error:
            self.refuse(str(error))
        except FramingError as error:
            if self._peer is not None:
                self._peer.packets_refused += 1
            self.refuse(str(error))

    def refuse(self, reason: str) -> None:
        """Close at once and tell the log why."""
        if self._transport is not None:
            self._warn(reason)
            self.drop()

    def drop(self) -> None:
        """Close at once. Nothing that comes on this connection is delivered any more."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._end()

    def _warn(self, reason: str) -> None:
        assert self._transport is not None
        peer = self._peer.node_id if self._peer else remote_host(self._transport)
        self._context.log.warning("peer_connection_refused", peer=peer, reason=reason)

    def _part(self, last: bytes) -> None:
        """Close once the other side was sent this, from which its log can say why."""
        assert self._transport is not None
        self._transport.write(last)
        self._transport.close()
        self._transport = None
        self._end()

    def _is_open(self) -> bool:
        return self._transport is not None

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._listener.closed(self)

    def _greet(self, received: bytes) -> None:
        assert self._transport is not None
        if self.claim is None and len(received) >= PREFIX_BYTES:
            self._accepting.agree(received)
        if not self._greeting.whole:
            return
        if self.claim is None:
            self.claim, challenge = self._accepting.greet(received)
            if self._tls is not None:
                check(self._tls, self._context.identity.cluster_id, self.claim.node_id)
            self._greeting.expect(PROOF_BYTES)
            self._transport.write(challenge)
            return
        hooks, claim = self._context.hooks, self.claim
        self._accepting.check(received)
        self.credentials = Credentials(self._accepting.secret, self._tls)
        if claim.is_bulk:
            self._give_over(received, self._listener.bulk(claim))
            return
        self._listener.check(claim)
        # Before anything is held for it: a peer that has no place here costs nothing.
        reception = hooks.on_announcement(claim.node_id, claim.announcement)
        if not self._is_open():
            return
        if reception is Reception.UNKEPT:
            raise HandshakeFailed(f"what {claim.node_id} said of itself could not be kept")
        welcome = self._accepting.finish(received, hooks.answer(claim.node_id))
        if claim.is_probe or reception is not Reception.WELCOME:
            self._part(welcome)
            return
        self._listener.authenticated(self, claim)
        assert self._deadline is not None
        self._deadline.cancel()
        self._reader = PacketReader(Seal(self._accepting.key))
        self._peer = self._listener.peer(claim.node_id)
        self.version = self._accepting.version
        self._transport.write(welcome)
        self._listener.heard(self._peer)

    def _give_over(self, proof: bytes, bulk: BulkConnection) -> None:
        """It is for requests: nothing of this link is left."""
        transport, self._transport = self._transport, None
        assert transport is not None
        self._end()
        transport.write(self._accepting.finish(proof))
        bulk.credentials = self.credentials
        bulk.begin(transport, ours=self._accepting.key_back, theirs=self._accepting.key)

    def _take(self, packets: list[Packet], count: int) -> None:
        peer = self._peer
        assert peer is not None
        peer.bytes_received += count
        self._listener.heard(peer)
        for header, body in packets:
            if self._transport is None:
                return
            peer.packets_received += 1
            if header:
                too_new = self._context.hooks.deliver(peer.node_id, header, body)
                if too_new:
                    peer.messages_too_new += len(too_new)
                    self._context.log.warning(
                        "peer_message_too_new",
                        peer=peer.node_id,
                        reason=f"{next(iter(too_new))}: it is left out; start a newer Floodmark here",
                    )
            else:
                self._take_beat(peer, unpack_beat(body))

    def _take_beat(self, peer: Peer, beat: Beat) -> None:
        peer.beat_seen, peer.wall_ms = beat.number, beat.wall_ms
        peer.wall_at = time.monotonic()
        if peer.beat_echoed < beat.echo <= peer.beat_sent:
            peer.beat_echoed = beat.echo
        if beat.boot != self._boot:
            self._boot = beat.boot
            assert self.claim is not None
            self._context.hooks.on_boot(peer.node_id, self.claim.incarnation, beat.boot)


def _folder(claim: PeerClaim) -> tuple[str, bytes]:
    """Which process speaks for which data folder."""
    return claim.incarnation, claim.process
