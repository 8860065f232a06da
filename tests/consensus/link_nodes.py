"""Nodes that have links and nothing else, for the tests of links."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from consensus.links.fair_queue import Routed
from consensus.links.framing import FramingError, pack_prefix
from consensus.links.handshake import CHALLENGE_BYTES, WELCOME_BYTES, Dialing, Identity
from consensus.links.link_tls import LinkTls
from consensus.links.link_types import LinkHooks, LinkOptions, Reception
from consensus.links.peer_links import PeerLinks
from consensus.links.seal import Seal
from consensus.messages import InstallSnapshot, Message, RequestVoteResponse
from consensus.wire import WireError, decode_packet, encode_packet
from tests.support.proxy import FaultProxy

FAST = LinkOptions(
    heartbeat_s=0.02, silence_s=0.2, gone_after_s=0.4, dead_after_s=0.6, handshake_timeout_s=0.5
)
"""For tests of silence, of links on which nothing gets through, and of handshakes that do not go on."""
PATIENT = LinkOptions(
    heartbeat_s=0.02,
    silence_s=600,
    gone_after_s=600,
    dead_after_s=1200,
    connect_timeout_s=60,
    handshake_timeout_s=600,
)
"""For all others: a process that is held up for a second loses no connection, and ends no handshake. None of
these times passes while a test waits for what happens at once."""
SECRET = b"a secret of the tests"


class LinkNode:
    """Records what its links tell it. ``changed`` wakes whoever waits for a condition."""

    def __init__(
        self, node_id: str, options: LinkOptions = PATIENT, *, tls: LinkTls | None = None, **identity: Any
    ) -> None:
        fields = {"cluster_id": "c1", "incarnation": f"{node_id}-disk-1", "secret": SECRET} | identity
        self.node_id = node_id
        self.received: list[tuple[str, int, Message]] = []
        self.packets = 0
        self.events: list[tuple[str, str]] = []
        self.announcements: list[tuple[str, bytes]] = []
        self.hellos: list[tuple[str, str]] = []
        self.tls_refused: list[tuple[str, str]] = []
        self.welcome: Callable[[str, str], bool] = lambda _peer, _incarnation: True
        self.reception = Reception.WELCOME
        self.address = ("", 0)
        self._changed = asyncio.Event()
        hooks = LinkHooks(
            deliver=self._deliver,
            peer_up=lambda peer, _version: self._event("up", peer),
            peer_down=lambda peer: self._event("down", peer),
            peer_silent=lambda peer: self._event("silent", peer),
            peer_gone=lambda peer: self._event("gone", peer),
            peer_heard=lambda peer: self._event("heard", peer),
            on_hello=self._hello,
            announce=lambda peer: f"{node_id} to {peer}".encode(),
            answer=lambda peer: f"{node_id} answers {peer}".encode(),
            on_announcement=self._announced,
            tls_refused=self._tls_refused,
        )
        self.links = PeerLinks(Identity(node_id=node_id, **fields), hooks, options, tls=tls)

    async def start(self) -> LinkNode:
        """Listen on any free port."""
        self.address = await self.links.start("127.0.0.1", 0)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that these links report makes the condition true."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_up(self, *peers: str) -> None:
        """Wait for connections to these peers."""
        await self.until(lambda: all(self.links.connected(peer) for peer in peers))

    async def until_refused(self, peer: str, count: int) -> None:
        """Wait until so many attempts to connect have failed; nothing reports them."""
        async with asyncio.timeout(60):
            while self.links.peers[peer].connect_failures < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def numbers(self, source: str) -> list[int]:
        """The terms of the messages that came from a node, which the tests use as numbers."""
        return [message.claimed_term for sender, _, message in self.received if sender == source]

    def _hello(self, peer: str, incarnation: str) -> bool:
        self.hellos.append((peer, incarnation))
        self._changed.set()
        return self.welcome(peer, incarnation)

    def _announced(self, peer: str, said: bytes) -> Reception:
        self.announcements.append((peer, said))
        self._changed.set()
        return self.reception

    def _tls_refused(self, peer: str, reason: str) -> None:
        self.tls_refused.append((peer, reason))
        self._changed.set()

    def _deliver(self, peer: str, header: memoryview, body: memoryview) -> list[str]:
        self.packets += 1
        too_new: list[str] = []
        try:
            messages = decode_packet(header, body, too_new.append)
        except WireError as error:
            raise FramingError(str(error)) from error
        self.received += [(peer, group, message) for group, message in messages]
        self._changed.set()
        return too_new

    def _event(self, name: str, peer: str) -> None:
        self.events.append((name, peer))
        self._changed.set()


@contextlib.asynccontextmanager
async def running(*nodes: LinkNode) -> AsyncIterator[None]:
    """Start nodes, stop them at the end."""
    for node in nodes:
        await node.start()
    try:
        yield
    finally:
        await asyncio.gather(*(node.links.stop() for node in nodes))


@contextlib.asynccontextmanager
async def joined(options: LinkOptions = PATIENT) -> AsyncIterator[tuple[LinkNode, LinkNode]]:
    """Two nodes that are connected both ways."""
    a, b = LinkNode("a", options), LinkNode("b", options)
    async with running(a, b):
        a.links.dial("b", *b.address)
        b.links.dial("a", *a.address)
        await asyncio.gather(a.until_up("b"), b.until_up("a"))
        yield a, b


@contextlib.asynccontextmanager
async def proxied(options: LinkOptions = FAST) -> AsyncIterator[tuple[LinkNode, LinkNode, FaultProxy]]:
    """The same, with a proxy on the way from the first to the second."""
    a, b = LinkNode("a", options), LinkNode("b", options)
    async with running(a, b):
        proxy = await FaultProxy(b.address).start()
        try:
            a.links.dial("b", *proxy.address)
            b.links.dial("a", *a.address)
            await asyncio.gather(a.until_up("b"), b.until_up("a"))
            yield a, b, proxy
        finally:
            await proxy.stop()


def numbered(number: int, group: int = 1) -> Routed:
    """A small message that carries a number."""
    return group, RequestVoteResponse(term=number)


def bulky(number: int, size: int) -> Routed:
    """A large message that carries a number."""
    return 1, InstallSnapshot(number, 1, 1, 0, ["a"], [], 0, 0, bytes(size))


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side closes the connection."""
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def raw_link(
    node: LinkNode, name: str, *, epoch: int, process: bytes = b"one process here"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Seal]:
    """A connection to a node, authenticated by hand, and what marks the packets on it."""
    identity = Identity(cluster_id="c1", node_id=name, incarnation="x", secret=SECRET, process=process)
    dialing = Dialing(identity, node.node_id, epoch)
    reader, writer = await asyncio.open_connection(*node.address)
    try:
        writer.write(dialing.hello)
        writer.write(dialing.answer(await reader.readexactly(CHALLENGE_BYTES)))
        dialing.check(await reader.readexactly(WELCOME_BYTES))
    except BaseException:
        writer.close()
        raise
    return reader, writer, Seal(dialing.key)


def raw_packet(seal: Seal, *messages: Routed) -> bytes:
    """A packet as it travels."""
    header, *body = encode_packet(list(messages))
    return sealed(seal, header, b"".join(body))


def sealed(seal: Seal, header: bytes, body: bytes) -> bytes:
    """Any two parts as a packet that bears a true mark."""
    head = pack_prefix(len(header), len(body)) + header
    return head + body + seal.mark(head, (body,), len(body))
