"""How two nodes prove to each other that they belong together. Pure: bytes in, bytes out, no socket.

```
dialer                                                      acceptor
  HELLO      who I am, whom I dial, my nonce        ->
                                                    <-      CHALLENGE  my nonce
  PROOF      HMAC("dialer", all above)              ->
                                                    <-      WELCOME    who I am, HMAC("acceptor", all)
```

The dialer proves itself first, so that a stranger who dials learns nothing of us and nothing that depends
on the secret. Each proof covers both nonces, so an old conversation cannot be replayed, and the role, so
that one cannot be reflected. Everything is of fixed length and under 1 KiB.

```
HELLO      0  magic           4  b"FMP1"            CHALLENGE   0  magic           4
           4  highest         2  version spoken                 4  highest         2
           6  lowest          2                                 6  lowest          2
           8  cluster id     64  UTF-8, NUL-padded              8  nonce          32
          72  dialer id      64
         136  acceptor id    64                     PROOF       0  HMAC-SHA256    32
         200  process        16  random per process
         216  epoch           8  rises with each    WELCOME     0  incarnation    64
                                 connection of it              64  announcement  514
         224  incarnation    64  of the data folder           578  HMAC-SHA256    32
         288  announcement  514  2 length, then the bytes, NUL-padded
                                 the length's highest bit: the dialer wants a bulk connection
         802  nonce          32
```

HELLO and CHALLENGE say the lowest and the highest version of the protocol that a side speaks; the highest
that both speak is used. These two parts look the same in every version: only what comes behind them may
differ. Both proofs cover both ranges, so nobody in the middle brings two nodes down to an older version.
Builds before version 3 speak one version and have 0 as the lowest. Where no version is common the acceptor
still sends its challenge before it closes, so that both logs can name both.

From the secret and all of that both sides make the connection's key, with which the dialer marks its packets
(seal.py). Nothing is encrypted: for that, links take TLS (link_tls.py).

While a cluster's secret is changed there are several. The dialer proves one, its first; the acceptor takes
any of its own, and answers with the one that the dialer has proved.

A bulk connection (from version 6 on) is for requests and answers, which go both ways on it: the acceptor's
packets have a key of their own. Builds of before take the mark of its hello for an announcement that is too
long, and refuse it; none is dialled.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from consensus.wire import NEWEST_VERSION, REQUESTS

MAGIC: Final = b"FMP1"
TEXT_BYTES_MAX: Final = 64
TLS_HANDSHAKE: Final = b"\x16"
"""With this byte TLS begins, and nothing else that comes to a peer port."""
PREFIX_BYTES: Final = 8

ANNOUNCEMENT_BYTES_MAX: Final = 512
WHOEVER: Final = "?"
"""In place of the acceptor's id: a dialer that knows an address and no name yet. It hears who is there, and
the connection ends with the welcome."""

_BULK: Final = 1 << 15
"""In the length of a hello's announcement."""

_PREFIX = struct.Struct("<4sHH")
_HELLO = struct.Struct("<4sHH64s64s64s16sQ64s514s32s")
_CHALLENGE = struct.Struct("<4sHH32s")
_WELCOME = struct.Struct("<64s514s32s")

HELLO_BYTES: Final = _HELLO.size
CHALLENGE_BYTES: Final = _CHALLENGE.size
WELCOME_BYTES: Final = _WELCOME.size
PROOF_BYTES: Final = hashlib.sha256().digest_size


class Versions(NamedTuple):
    """The versions of the peer protocol that a node speaks, both ends included."""

    lowest: int
    highest: int


SPOKEN: Final = Versions(3, NEWEST_VERSION)
"""By this build; wire.py says what each version has."""


class HandshakeFailed(Exception):
    """The other side is not one of us; the text says why, for the log."""


class TlsFailed(HandshakeFailed):
    """There is no TLS between both sides, where there has to be, or a certificate does not count."""

    is_certain = True
    """False: the other side has only closed the connection, which it may do for other reasons as well."""


class NoCommonVersion(HandshakeFailed):
    """The other side is one of us, of a build that is too old for this one or too new."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this node says of itself, and the secret that the whole cluster shares."""

    cluster_id: str
    node_id: str
    incarnation: str
    """Names the data folder: another one after the disk was replaced."""
    secret: bytes = field(repr=False)
    """What this node proves itself by."""
    others: tuple[bytes, ...] = field(default=(), repr=False)
    """Secrets that it accepts besides: while the secret is changed, nodes prove the one or the other."""
    process: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    versions: Versions = SPOKEN
    """Of the peer protocol."""

    def __post_init__(self) -> None:
        if not all(self.secrets):
            raise ValueError("the cluster's shared secret is empty")
        for text in (self.cluster_id, self.node_id, self.incarnation):
            _pad(text)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """All that it accepts."""
        return self.secret, *self.others


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """What a node says of itself: claimed at first, true once the conversation has ended well."""

    node_id: str
    incarnation: str
    announcement: bytes
    process: bytes = b""
    epoch: int = 0
    is_probe: bool = False
    """It dialled ``WHOEVER``."""
    is_bulk: bool = False
    """The connection is for requests and answers."""


class Dialing:
    """The dialer's side of one conversation."""

    def __init__(
        self, identity: Identity, target: str, epoch: int, announcement: bytes = b"", *, bulk: bool = False
    ) -> None:
        self._identity = identity
        self._bulk = bulk
        self.target = target
        self.cluster_id = identity.cluster_id
        self.secret = identity.secret
        """By which both sides are proved on this connection."""
        self.hello = _HELLO.pack(
            *_prefix(identity.versions),
            _pad(identity.cluster_id),
            _pad(identity.node_id),
            _pad(target),
            identity.process,
            epoch,
            _pad(identity.incarnation),
            _pack_announcement(announcement, _BULK if bulk else 0),
            secrets.token_bytes(32),
        )
        self._transcript = b""
        self.key = b""
        """Of this connection; known once the acceptor has proved itself."""
        self.key_back = b""
        """Of what the acceptor sends on a bulk connection."""
        self.version = 0
        """Of the protocol on this connection; known with the challenge, and true once the acceptor has proved
        itself."""

    def answer(self, challenge: bytes) -> bytes:
        """Our proof for the acceptor's challenge. Raises ``NoCommonVersion``."""
        self.version = agree(self._identity.versions, challenge)
        if self._bulk and self.version < REQUESTS:
            raise NoCommonVersion(f"the other side speaks version {self.version}, without bulk connections")
        self._transcript = self.hello + challenge
        return _proof(self.secret, b"dialer", self._transcript)

    def check(self, welcome: bytes) -> PeerClaim:
        """Raises ``HandshakeFailed`` unless the acceptor knows the secret."""
        incarnation, announcement, proof = _WELCOME.unpack(welcome)
        said = self._transcript + incarnation + announcement
        if not hmac.compare_digest(_proof(self.secret, b"acceptor", said), proof):
            raise HandshakeFailed("the peer that answered does not know the cluster's secret")
        self.key, self.key_back = _keys(self.secret, said)
        return PeerClaim(self.target, _text(incarnation, "incarnation"), _unpack_announcement(announcement))


class Accepting:
    """The acceptor's side of one conversation."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._transcript = b""
        self.secret = b""
        """That the dialer has proved, one of ours."""
        self.key = b""
        """Of this connection; known once the dialer has proved itself and ``finish`` has answered."""
        self.key_back = b""
        """Of what we send on a bulk connection."""
        self.version = 0
        """Of the protocol on this connection; known with the hello, true once the dialer is proved."""

    def agree(self, begin: bytes) -> None:
        """Judge a hello by its first bytes. Raises ``NoCommonVersion``; then ``challenge`` tells ours."""
        self.version = agree(self._identity.versions, begin)

    def challenge(self) -> bytes:
        """A challenge with a nonce of its own."""
        return _CHALLENGE.pack(*_prefix(self._identity.versions), secrets.token_bytes(32))

    def greet(self, hello: bytes) -> tuple[PeerClaim, bytes]:
        """Check the dialer's hello; what it claims, and our challenge."""
        self.agree(hello)
        _, _, _, cluster, dialer, target, process, epoch, incarnation, announcement, _ = _HELLO.unpack(hello)
        announcement, is_bulk = _without_mark(announcement)
        if cluster != _pad(self._identity.cluster_id):
            raise HandshakeFailed("the dialer belongs to another cluster")
        is_probe = target == _pad(WHOEVER)
        if not is_probe and target != _pad(self._identity.node_id):
            raise HandshakeFailed("the dialer wants another node than this one; check the peer addresses")
        if process == self._identity.process:
            raise HandshakeFailed("the dialer is this node itself")
        node_id = _text(dialer, "node id")
        # One that asks who is here hears that its id is taken.
        if not node_id or (node_id == self._identity.node_id and not is_probe):
            raise HandshakeFailed("the dialer claims this node's own id, or none")
        challenge = self.challenge()
        self._transcript = hello + challenge
        claim = PeerClaim(
            node_id,
            _text(incarnation, "incarnation"),
            _unpack_announcement(announcement),
            process,
            epoch,
            is_probe,
            is_bulk and self.version >= REQUESTS,
        )
        if is_bulk and (is_probe or not claim.is_bulk):
            raise HandshakeFailed("the dialer wants a bulk connection, and has no place for one")
        return claim, challenge

    def check(self, proof: bytes) -> None:
        """Raises ``HandshakeFailed`` unless the dialer knows the secret."""
        for secret in self._identity.secrets:
            if hmac.compare_digest(_proof(secret, b"dialer", self._transcript), proof):
                self.secret = secret
                return
        raise HandshakeFailed("the dialer does not know the cluster's secret")

    def finish(self, proof: bytes, announcement: bytes = b"") -> bytes:
        """Check the dialer's proof; our welcome."""
        self.check(proof)
        secret = self.secret
        said = _pad(self._identity.incarnation) + _pack_announcement(announcement)
        self.key, self.key_back = _keys(secret, self._transcript + said)
        return said + _proof(secret, b"acceptor", self._transcript + said)


def agree(ours: Versions, data: bytes) -> int:
    """The version to use with a side whose part of the handshake begins with these eight bytes.

    Raises ``HandshakeFailed`` for what is not this protocol, ``NoCommonVersion`` for ranges that do not meet.
    """
    magic, highest, lowest = _PREFIX.unpack_from(data)
    if data[:1] == TLS_HANDSHAKE:
        raise HandshakeFailed("the other side speaks TLS, and here peer.tls.mode is off")
    if magic != MAGIC or lowest > highest:
        raise HandshakeFailed("this is not the peer protocol")
    theirs = Versions(lowest or highest, highest)
    used = min(ours.highest, theirs.highest)
    if used < max(ours.lowest, theirs.lowest):
        spoken = f"version {highest}" if theirs.lowest == highest else f"versions {lowest} to {highest}"
        raise NoCommonVersion(
            f"the other side speaks {spoken} of the peer protocol, this node {ours.lowest} to "
            f"{ours.highest}: start a newer Floodmark {'there' if highest < ours.lowest else 'here'}"
        )
    return used


def _prefix(versions: Versions) -> tuple[bytes, int, int]:
    return MAGIC, versions.highest, versions.lowest


def _proof(secret: bytes, role: bytes, transcript: bytes) -> bytes:
    return hmac.digest(secret, b"floodmark peer " + role + b"\0" + transcript, "sha256")


def _keys(secret: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    """Of the dialer's packets and of the acceptor's: nothing that one has sent can be sent back to it."""
    return (
        hmac.digest(secret, b"floodmark peer key\0" + transcript, "sha256"),
        hmac.digest(secret, b"floodmark peer key back\0" + transcript, "sha256"),
    )


def _pack_announcement(announcement: bytes, mark: int = 0) -> bytes:
    if len(announcement) > ANNOUNCEMENT_BYTES_MAX:
        raise ValueError(f"an announcement has at most {ANNOUNCEMENT_BYTES_MAX} bytes")
    length = len(announcement) | mark
    return length.to_bytes(2, "little") + announcement.ljust(ANNOUNCEMENT_BYTES_MAX, b"\0")


def _without_mark(raw: bytes) -> tuple[bytes, bool]:
    length = int.from_bytes(raw[:2], "little")
    return (length & ~_BULK).to_bytes(2, "little") + raw[2:], bool(length & _BULK)


def _unpack_announcement(raw: bytes) -> bytes:
    length = int.from_bytes(raw[:2], "little")
    if length > ANNOUNCEMENT_BYTES_MAX:
        raise HandshakeFailed("the announcement is too long")
    return raw[2 : 2 + length]


def _pad(text: str) -> bytes:
    raw = text.encode()
    if not raw or len(raw) > TEXT_BYTES_MAX or b"\0" in raw:
        raise ValueError(f"{text!r} must have 1 to {TEXT_BYTES_MAX} bytes of UTF-8 and no NUL")
    return raw.ljust(TEXT_BYTES_MAX, b"\0")


def _text(raw: bytes, name: str) -> str:
    try:
        text = raw.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise HandshakeFailed(f"the {name} is not UTF-8") from error
    if not text.isprintable() or not text.isascii():
        raise HandshakeFailed(f"the {name} holds characters that no name has")
    return text
