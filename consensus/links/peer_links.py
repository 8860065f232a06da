"""The links of this node to all others: who is connected, who was heard, and what goes where.

A dials B and uses that connection for A's messages to B only; what B has to say travels on the connection
that B makes to A. "Connected" means: our own connection is up and authenticated. Messages arrive in order and
at most once per link, and none of an older connection after the first of a newer one; a link that breaks
loses what is under way, and its owner is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from consensus.links.bulk_links import BulkLinks
from consensus.links.dialing import Address, welcomed_at
from consensus.links.fair_queue import Routed
from consensus.links.handshake import WHOEVER, Identity
from consensus.links.inbound import Listener
from consensus.links.link_tls import LinkTls
from consensus.links.link_types import LinkContext, LinkHooks, LinkOptions, Peer
from consensus.links.outbound import OutgoingLink
from consensus.wire import REQUESTS


class PeerLinks:
    """All links of one process. Lives on one event loop and is not thread-safe."""

    def __init__(
        self,
        identity: Identity,
        hooks: LinkHooks,
        options: LinkOptions | None = None,
        *,
        tls: LinkTls | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._context = LinkContext(
            identity=identity,
            options=options or LinkOptions(),
            hooks=hooks,
            tls=tls,
            wall_ms=wall_ms,
        )
        self.peers: dict[str, Peer] = {}
        """Every node that is dialled or has dialled, with its counters."""
        self._outgoing: dict[str, OutgoingLink] = {}
        self.bulk = BulkLinks(self._context, self._bulk_address)
        """Connections for requests and their answers."""
        self._listener = Listener(self._context, self._peer, self._heard, self.bulk)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen and begin to beat; the address that was bound (port 0: any free one)."""
        self._now = asyncio.get_running_loop().time
        address = await self._listener.start(host, port)
        self._schedule_beat()
        return address

    async def stop(self) -> None:
        """Close everything; what is queued gets a moment to leave."""
        if self._timer is not None:
            self._timer.cancel()
        await self.bulk.stop()
        self._listener.stop()
        outgoing, self._outgoing = self._outgoing, {}
        await asyncio.gather(*(link.stop() for link in outgoing.values()))

    def sever(self) -> None:
        """Cut all links at once and make none any more: nothing more leaves this process, or reaches it."""
        self._listener.stop()
        self.bulk.sever()
        for link in self._outgoing.values():
            link.sever()

    def dial(self, node_id: str, host: str, port: int, *, also: Sequence[Address] = ()) -> None:
        """Keep a connection to this node at this address, in place of another address.

        ``also``: where it is looked for when it cannot be reached there.
        """
        addresses = [(host, port), *also]
        if (link := self._outgoing.get(node_id)) is not None:
            link.redial(addresses)
        else:
            peer = self._peer(node_id)
            self._outgoing[node_id] = OutgoingLink(
                self._context, peer, addresses, partial(self._dial_refused, peer)
            )

    async def probe(self, host: str, port: int) -> tuple[bytes, str]:
        """What whoever answers at this address says of itself, proved, and the node that its certificate
        names, "" without TLS: the caller holds the one to the other. No connection stays.

        Raises ``OSError`` (timeouts are) and ``HandshakeFailed``.
        """
        connection, claim = await welcomed_at(self._context, (host, port), WHOEVER, _Nobody())
        connection.abort()
        return claim.announcement, connection.certified

    @property
    def plain(self) -> int:
        """Connections that stand without TLS, of both kinds and directions."""
        made = [link.credentials for link in self._outgoing.values()]
        found = [*made, *self._listener.credentials, *(each.credentials for each in self.bulk.each())]
        return sum(each is not None and each.tls is None for each in found)

    def accept_secrets(self, first: bytes, *others: bytes) -> None:
        """Prove the first and accept all of them, from the next handshake on; see ``drop_outdated``."""
        self._context.identity = replace(self._context.identity, secret=first, others=others)

    def drop_outdated(self) -> Coroutine[Any, Any, None]:
        """Give up connections that were proved by what does not count any more; they are made again.

        What it returns ends when they are closed: what was asked on them has a moment to be answered.
        """
        self._listener.drop_outdated()
        for link in self._outgoing.values():
            link.drop_if_outdated()
        return self.bulk.retire()

    def forget(self, node_id: str) -> Coroutine[Any, Any, None]:
        """Give up the links from and to a node that is no longer part of the cluster.

        That is done when this returns, so that one that comes back at once may be dialled again; what it
        returns ends when they are closed.
        """
        self._listener.drop(node_id)
        parting = self.bulk.part(node_id)
        self.peers.pop(node_id, None)
        link = self._outgoing.pop(node_id, None)
        return _both(parting, asyncio.sleep(0) if link is None else link.stop())

    def connected(self, node_id: str) -> bool:
        """Whether messages to this node can be sent."""
        link = self._outgoing.get(node_id)
        return link is not None and link.up

    def queue_bytes(self, node_id: str) -> int:
        """Bytes that wait for this node."""
        link = self._outgoing.get(node_id)
        return link.queue_bytes if link is not None else 0

    @property
    def unauthenticated(self) -> int:
        """Accepted connections whose handshake is under way."""
        return self._listener.unauthenticated

    def send(self, node_id: str, messages: Sequence[Routed]) -> None:
        """Send messages of any number of groups, those of each group in their order.

        As one packet where they fit; dropped when not connected.
        """
        link = self._outgoing.get(node_id)
        if link is not None:
            link.send(messages)

    def takes_requests(self, node_id: str) -> bool:
        """Whether a node's build takes them, as far as this one has met it."""
        peer = self.peers.get(node_id)
        return peer is not None and peer.version >= REQUESTS

    def is_older(self, node_id: str) -> bool:
        """Whether a node was met, and its build takes no requests."""
        peer = self.peers.get(node_id)
        return peer is not None and 0 < peer.version < REQUESTS

    def meets_older(self) -> bool:
        """Whether any node is."""
        return any(self.is_older(node_id) for node_id in self.peers)

    def _bulk_address(self, node_id: str) -> Address | None:
        link = self._outgoing.get(node_id)
        return link.address if link is not None and self.takes_requests(node_id) else None

    def _peer(self, node_id: str) -> Peer:
        peer = self.peers.get(node_id)
        if peer is None:
            peer = self.peers[node_id] = Peer(node_id, heard_at=asyncio.get_running_loop().time())
        return peer

    def _heard(self, peer: Peer) -> None:
        peer.heard_at = self._now()
        if peer.silent:
            peer.silent = peer.gone = False
            self._context.hooks.peer_heard(peer.node_id)

    def _dial_refused(self, peer: Peer) -> None:
        """Nobody listens there. Where its connection to us is gone as well, its process is."""
        if not peer.gone and not self._listener.has(peer.node_id):
            self._is_silent(peer)
            self._is_gone(peer)

    def _is_silent(self, peer: Peer) -> None:
        if not peer.silent:
            peer.silent = True
            self._context.hooks.peer_silent(peer.node_id)

    def _is_gone(self, peer: Peer) -> None:
        if not peer.gone:
            peer.gone = True
            self.bulk.drop(peer.node_id)  # Nobody waits for a node that is not there.
            self._context.hooks.peer_gone(peer.node_id)

    def _schedule_beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer_due = loop.time() + self._context.options.heartbeat_s
        self._timer = loop.call_at(self._timer_due, self._beat)

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        late = max(0.0, now - self._timer_due)
        for link in list(self._outgoing.values()):
            link.beat(now, late)
        self.bulk.beat(now, late)
        for peer in list(self.peers.values()):
            # While this process did not run, nobody could be heard: that time is no silence of theirs.
            peer.heard_at = min(now, peer.heard_at + late)
            if now - peer.heard_at > self._context.options.silence_s:
                self._is_silent(peer)
            if now - peer.heard_at > self._context.options.gone_after_s:
                self._is_gone(peer)
        self._schedule_beat()


async def _both(*closing: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*closing)


class _Nobody:
    """Sends nothing, and so waits for nothing."""

    def queue_drained(self) -> None:
        """Never called: nothing is queued."""
