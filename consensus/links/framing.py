"""Packets on an authenticated link. Pure: it hands out buffers to fill and takes packets out of them.

```
    0  header length   4  little endian
    4  body length     4
    8  header             what wire.py packs; no header: the body is a beat
       body               raw frames, never packed again
       mark          16   of the dialer (seal.py)
```

A *beat* is (u64 number, u64 echo, i64 wall clock in milliseconds, u64 boot number of the data folder): each
side sends one per heartbeat on its own link and echoes the highest number that it saw on the other's, so each
knows that it is heard.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from consensus.links.seal import MARK_BYTES, Seal

HEADER_BYTES_MAX: Final = 1 << 20
BODY_BYTES_MAX: Final = 32 << 20

_PREFIX = struct.Struct("<II")
_BEAT = struct.Struct("<QQqQ")
_SCRATCH_BYTES: Final = 256 << 10
_KEPT_BYTES: Final = 4 << 20
"""A leader aims at packets of a quarter of this; what is larger is rare."""

Packet = tuple[memoryview, memoryview]
"""Header and body; views that hold until more is read."""


class Beat(NamedTuple):
    """One per heartbeat and link; ``boot`` is 0 where the sender has no data folder."""

    number: int
    echo: int
    wall_ms: int
    boot: int


class FramingError(Exception):
    """The other side broke the framing: the connection cannot be used any more."""


def pack_prefix(header_bytes: int, body_bytes: int) -> bytes:
    """The eight bytes before a packet. The caller has kept to the caps."""
    assert 0 < header_bytes <= HEADER_BYTES_MAX, "a packet has a header within its cap"
    assert body_bytes <= BODY_BYTES_MAX, "a packet's body stays within its cap"
    return _PREFIX.pack(header_bytes, body_bytes)


def pack_beat(beat: Beat) -> tuple[bytes, bytes]:
    """The lengths and the body of a beat."""
    return _PREFIX.pack(0, _BEAT.size), _BEAT.pack(*beat)


def unpack_beat(body: memoryview) -> Beat:
    """The beat in a packet without header."""
    return Beat(*_BEAT.unpack(body))


class PacketReader:
    """Takes packets out of a stream: ``buffer()`` is where the next bytes go, ``received(n)`` says they came.

    Small packets share one scratch buffer; one that does not fit has a larger one to itself, which the socket
    fills directly and the next such packet uses again: new memory for each costs more than to copy it.
    Packets are handed out as views of these buffers, so their payload is copied only once, by who decodes
    it; a view holds until ``buffer()`` is called again. What a length announces is not held before it comes:
    a buffer above the kept one doubles as it fills. Every packet is checked against its mark.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._start = 0
        self._end = 0
        self._next_size = _PREFIX.size
        """Bytes of the packet that begins at ``start``, as far as is known."""
        self._kept = memoryview(bytearray())
        self._large: memoryview | None = None
        self._large_size = 0
        """What the packet in ``large`` will have in the end."""
        self._filled = 0

    def buffer(self) -> memoryview:
        """At least one writable byte."""
        if self._large is None:
            self._make_room()
        if self._large is not None:
            return self._large[self._filled :]
        return self._scratch[self._end :]

    def received(self, count: int) -> list[Packet]:
        """The packets that are whole now. Raises ``FramingError``."""
        if self._large is None:
            self._end += count
            return self._take_small()
        self._filled += count
        if self._filled < self._large_size:
            if self._filled == len(self._large):
                self._large = _grown(self._large, self._large_size)
            return []
        packet = self._cut(self._large, 0, *_lengths(self._large, 0))
        self._large = None
        return [packet]

    def _take_small(self) -> list[Packet]:
        packets: list[Packet] = []
        while self._end - self._start >= _PREFIX.size:
            header, body = _lengths(self._scratch, self._start)
            self._next_size = _PREFIX.size + header + body + MARK_BYTES
            if self._next_size > self._end - self._start:
                return packets
            packets.append(self._cut(self._scratch, self._start, header, body))
            self._start += self._next_size
        self._next_size = _PREFIX.size
        return packets

    def _make_room(self) -> None:
        """Have room for the whole packet that begins at ``start``."""
        held = self._end - self._start
        if self._next_size > _SCRATCH_BYTES:
            self._large_size = self._next_size
            self._large = self._buffer_of(self._next_size)
            self._large[:held] = self._scratch[self._start : self._end]
            self._filled = held
            self._start = self._end = 0
            self._next_size = _PREFIX.size
        elif held == 0:
            self._start = self._end = 0
        elif self._start + self._next_size > _SCRATCH_BYTES:
            self._scratch[:held] = bytes(self._scratch[self._start : self._end])
            self._start, self._end = 0, held

    def _buffer_of(self, size: int) -> memoryview:
        if not self._kept:
            self._kept = memoryview(bytearray(_KEPT_BYTES))
        return self._kept[: min(size, _KEPT_BYTES)]

    def _cut(self, view: memoryview, start: int, header: int, body: int) -> Packet:
        """The parts of a whole packet. Raises ``FramingError`` when it is not what the dialer has marked."""
        middle = start + _PREFIX.size + header
        end = middle + body
        if not self._seal.holds(view[start:middle], view[middle:end], view[end : end + MARK_BYTES]):
            raise FramingError("a packet was altered on its way, or was not sent by this peer")
        return view[start + _PREFIX.size : middle], view[middle:end]


def _grown(full: memoryview, size: int) -> memoryview:
    """Twice the room, at most ``size``."""
    room = memoryview(bytearray(min(size, 2 * len(full))))
    room[: len(full)] = full
    return room


def _lengths(view: memoryview, start: int) -> tuple[int, int]:
    """Of header and body of the packet that begins at ``start``."""
    header, body = _PREFIX.unpack_from(view, start)
    if header > HEADER_BYTES_MAX or body > BODY_BYTES_MAX:
        raise FramingError(f"a packet claims {header} + {body} bytes, above its cap")
    if header == 0 and body != _BEAT.size:
        raise FramingError("a packet without header is not a beat")
    return header, body
