"""What the two kinds of link share: their limits, their hooks, and what is known of each peer."""

from __future__ import annotations

import asyncio
import enum
import itertools
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from consensus.links.handshake import Identity
from consensus.links.link_tls import Credentials, LinkTls
from consensus.throttle import ThrottledLog


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Times in seconds, sizes in bytes."""

    heartbeat_s: float = 0.1
    """How often each link carries a beat."""
    silence_s: float = 0.5
    """A peer of which nothing came for this long is reported silent."""
    gone_after_s: float = 1.5
    """... and for this long reported gone, as one whose process has ended is at once."""
    dead_after_s: float = 3.0
    """A connection on which nothing gets through for this long is given up and made again."""
    connect_timeout_s: float = 1.0
    """For the TCP connection (and TLS); short, so that a healed network is noticed soon."""
    handshake_timeout_s: float = 5.0
    """From an accepted connection to its authentication."""
    reconnect_min_s: float = 0.02
    reconnect_max_s: float = 0.45
    """Bounds of the pause between two attempts to connect."""
    queue_bytes_max: int = 64 << 20
    """Bytes waiting for one peer; beyond it the peer counts as down until most of them are gone."""
    unauthenticated_max: int = 64
    """Accepted connections that are not authenticated yet; beyond it the oldest is closed."""

    def __post_init__(self) -> None:
        if not 3 * self.heartbeat_s < self.silence_s < self.dead_after_s:
            raise ValueError("3 heartbeats < silence < dead after must hold")
        if not self.silence_s <= self.gone_after_s:
            raise ValueError("silence <= gone after must hold")
        if not 0 < self.reconnect_min_s < self.reconnect_max_s < 0.5:
            raise ValueError("0 < reconnect min < reconnect max < 0.5 s must hold")


class Reception(enum.Enum):
    """What becomes of a connection once its peer has said what it is."""

    WELCOME = enum.auto()
    UNKEPT = enum.auto()
    """It cannot be kept now: the connection is given up, and made again like any that fails."""
    REFUSED = enum.auto()
    """The peer has no place here: it hears what we say of ourselves, so that it can tell why, and no more."""
    WAITS = enum.auto()
    """The same, but one of both sides is about to have a place: the connection is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHooks:
    """What the owner of the links wants to know. All are called on the event loop and must not raise."""

    deliver: Callable[[str, memoryview, memoryview], Collection[str]]
    """One packet of a peer: header and body, which hold only during the call. ``FramingError`` closes.

    What comes back are messages that were left out because this build is too old for them, in words.
    """
    peer_up: Callable[[str, int], None] = lambda _peer, _version: None
    """Messages to a peer can be sent from now on, in this version of the protocol."""
    peer_down: Callable[[str], None] = lambda _peer: None
    """They cannot: no connection, or too much waits already. Some of what was sent may be lost."""
    peer_silent: Callable[[str], None] = lambda _peer: None
    """Nothing came from a peer for ``silence_s``."""
    peer_gone: Callable[[str], None] = lambda _peer: None
    """Its process has ended: its connection to us is closed, and it takes none of ours; or nothing came for
    ``gone_after_s``. Told after ``peer_silent``."""
    peer_heard: Callable[[str], None] = lambda _peer: None
    """Something came again from a peer that was silent."""
    on_hello: Callable[[str, str], bool] = lambda _peer, _incarnation: True
    """An authenticated peer and its incarnation: False refuses it."""
    announce: Callable[[str], bytes] = lambda _peer: b""
    """What to say of ourselves to a peer that is dialled, at most 512 bytes."""
    answer: Callable[[str], bytes] = lambda _peer: b""
    """... and to one that dials, right after ``on_announcement`` was told what that one said."""
    on_announcement: Callable[[str, bytes], Reception] = lambda _peer, _announcement: Reception.WELCOME
    """What an authenticated peer says of itself, before its first message is delivered."""
    boot: Callable[[], int] = lambda: 0
    """The boot number of our data folder, as beats tell it: one that is durable."""
    on_boot: Callable[[str, str, int], None] = lambda _peer, _incarnation, _number: None
    """A peer, its incarnation, and the boot number that its beats tell from now on."""
    tls_refused: Callable[[str, str], None] = lambda _peer, _reason: None
    """There is no link with a node because of TLS, and why; ``WHOEVER`` where it is not known which node."""


@dataclass(slots=True, eq=False)
class Peer:
    """One other node. The counters only rise; metrics read them as they are."""

    node_id: str
    heard_at: float
    silent: bool = False
    gone: bool = False
    version: int = 0
    """Of the protocol, on our latest connection to it."""
    beat_sent: int = 0
    """Number of the last beat that we sent."""
    beat_seen: int = 0
    """Number of the last beat that came on the peer's present connection; echoed to it."""
    wall_ms: int | None = None
    """What its wall clock said in that beat, and on ``time.monotonic`` when that came."""
    wall_at: float = 0.0
    beat_echoed: int = 0
    """The highest of our numbers that the peer echoed."""
    connects: int = 0
    connect_failures: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    """Those that were handed over for the peer while it was connected."""
    messages_dropped: int = 0
    packets_refused: int = 0
    """Those that were no packets of a sound peer, or bore no true mark; each ended its connection."""
    messages_too_new: int = 0
    """Those that were left out because only a newer build knows their kind or fields."""
    queue_full: int = 0
    """How often the queue to this peer went over its bound."""


@dataclass(slots=True, kw_only=True)
class LinkContext:
    """What every connection of this process shares."""

    identity: Identity
    """Another one with other secrets takes its place; each handshake goes by that of its time."""
    options: LinkOptions
    hooks: LinkHooks
    tls: LinkTls | None = None
    """None: links are not encrypted."""
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """This node's own wall clock, as beats tell it."""
    log: ThrottledLog = field(default_factory=lambda: ThrottledLog("consensus.links.peer_links"))
    epochs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Numbers the connections that this process makes, rising."""

    def counts(self, credentials: Credentials) -> bool:
        """Whether a connection that was proved so would be made today."""
        if credentials.secret not in self.identity.secrets:
            return False
        return self.tls is None or credentials.tls is None or self.tls.still_trusts(credentials.tls)


class HandshakeBuffer:
    """Collects exactly the bytes that the handshake needs next, so that nothing more is read."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(1024))
        self._filled = 0
        self._needed = 0

    def expect(self, count: int) -> None:
        """Begin to collect ``count`` bytes."""
        self._filled, self._needed = 0, count

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        return self._view[self._filled : self._needed]

    def received(self, count: int) -> bytes:
        """What is there of the part by now."""
        self._filled += count
        return bytes(self._view[: self._filled])

    @property
    def whole(self) -> bool:
        """Whether the part is there."""
        return self._filled == self._needed


def remote_host(transport: asyncio.BaseTransport) -> str:
    """The address of the other end, for the log."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else "unknown"
