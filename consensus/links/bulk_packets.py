"""Packets of a bulk connection: requests and answers in pieces. Pure: bytes in, bytes out.

They are framed and marked like all packets (``framing.py``, ``seal.py``); the header begins with

```
    0  kind            1
    1  number          8  little endian: of the request, chosen by its asker
    9  detail          4  REQUEST: milliseconds that an answer is of use;  ANSWER: an ``Outcome``
   13  envelope bytes  4  of the whole message                             } REQUEST and ANSWER only
   17  raw bytes       4                                                   }
```

The rest of the header is a piece of the message's envelope, and the body a piece of its raw bytes; first all
of the one comes, then all of the other. A mark covers headers whatever their length, so it covers envelopes.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

from consensus.links.framing import FramingError

PIECE_BYTES: Final = 64 << 10
"""Of a message in one packet: what others wait for at the most."""
ENVELOPE_BYTES_MAX: Final = 32 << 20
RAW_BYTES_MAX: Final = 1 << 30
NUMBER_MAX: Final = (1 << 63) - 1
LEFT_MS_MAX: Final = (1 << 32) - 1

_WORD = struct.Struct("<BQ")
_START = struct.Struct("<BQIII")


class Kind(enum.IntEnum):
    """Of a packet."""

    REQUEST = 1
    """The beginning of one, with its first piece."""
    REQUEST_PIECE = 2
    CANCEL = 3
    """Whoever asked gave up: no more of the request comes, and its answer is of no use. It gets one."""
    ANSWER = 4
    """Exactly one for each request."""
    ANSWER_PIECE = 5
    FREED = 6
    """A large answer is out of the asker's hands, so another one may come."""
    PING = 7
    PONG = 8


class Outcome(enum.IntEnum):
    """What an answer is."""

    DONE = 0
    FAILED = 1
    """With an error as its envelope."""
    ENDED = 2
    """It was begun, and ended without an answer: cancelled, or the node stops."""
    REFUSED = 3
    """It was not begun: no room, or the node stops."""


_STARTS: Final = frozenset({Kind.REQUEST, Kind.ANSWER})
_PIECES: Final = frozenset({Kind.REQUEST_PIECE, Kind.ANSWER_PIECE})


class Packet(NamedTuple):
    """One that came. ``envelope`` and ``raw`` are pieces, views that hold until more is read."""

    kind: Kind
    number: int
    envelope: memoryview
    raw: memoryview
    detail: int = 0
    envelope_bytes: int = 0
    raw_bytes: int = 0


def pack_word(kind: Kind, number: int) -> bytes:
    """The header of a packet that is nothing else."""
    return _WORD.pack(kind, number)


def pack_start(kind: Kind, number: int, detail: int, envelope_bytes: int, raw_bytes: int) -> bytes:
    """The header of a request's or answer's first packet, before its piece."""
    return _START.pack(kind, number, detail, envelope_bytes, raw_bytes)


def unpack(header: memoryview, body: memoryview) -> Packet:
    """Raises ``FramingError`` for what no sound peer sends."""
    try:
        kind = Kind(header[0])
        if kind in _STARTS:
            _, number, detail, envelope_bytes, raw_bytes = _START.unpack_from(header)
            packet = Packet(kind, number, header[_START.size :], body, detail, envelope_bytes, raw_bytes)
        else:
            _, number = _WORD.unpack_from(header)
            packet = Packet(kind, number, header[_WORD.size :], body)
    except (struct.error, ValueError, IndexError) as error:
        raise FramingError(f"this is no packet of a bulk connection: {error}") from error
    piece = len(packet.envelope) + len(packet.raw)
    if number > NUMBER_MAX or piece > PIECE_BYTES:
        raise FramingError(f"{kind.name} {number} has a piece of {piece} bytes")
    if piece and kind not in _STARTS and kind not in _PIECES:
        raise FramingError(f"{kind.name} has a piece")
    if packet.envelope_bytes > ENVELOPE_BYTES_MAX or packet.raw_bytes > RAW_BYTES_MAX:
        raise FramingError(f"{kind.name} claims {packet.envelope_bytes} + {packet.raw_bytes} bytes")
    if kind is Kind.ANSWER and packet.detail > max(Outcome):
        raise FramingError(f"an answer with an outcome of {packet.detail}")
    return packet


class Arriving:
    """A message that comes in pieces. It holds what has come, never what was announced."""

    __slots__ = ("_envelope", "_left", "_raw", "detail", "number", "size")

    def __init__(self, start: Packet) -> None:
        self.number = start.number
        self.detail = start.detail
        self.size = start.envelope_bytes + start.raw_bytes
        self._left = [start.envelope_bytes, start.raw_bytes]
        self._envelope: list[bytes] = []
        self._raw: list[bytes] = []
        self.take(start)

    def take(self, packet: Packet) -> None:
        """The next piece. Raises ``FramingError`` for one that is not due."""
        envelope, raw = packet.envelope, packet.raw
        if envelope:
            if len(envelope) > self._left[0]:
                raise FramingError("more of an envelope than was announced")
            self._left[0] -= len(envelope)
            self._envelope.append(bytes(envelope))
        if raw:
            if self._left[0] or len(raw) > self._left[1]:
                raise FramingError("raw bytes that are not due")
            self._left[1] -= len(raw)
            self._raw.append(bytes(raw))
        if not envelope and not raw and not self.whole:
            raise FramingError("an empty piece")

    @property
    def whole(self) -> bool:
        """Whether all of it has come."""
        return not any(self._left)

    def parts(self) -> tuple[bytes, bytes]:
        """Envelope and raw bytes of a whole message."""
        return _joined(self._envelope), _joined(self._raw)


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
