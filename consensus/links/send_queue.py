"""What waits to be sent on a bulk connection, and in which order it goes. Pure: no I/O, no clock.

Messages go in pieces, in turn, so that a small one waits for one piece of a large one and not for all of it.
Of large messages only so many bytes are under way at once in each direction: the receiver holds them until it
is done with them, and one that begins has room to its end. What is small needs none: there are only so many
requests at once, and each has one answer.

Messages of one order leave one after the other, whatever their sizes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from consensus.links.bulk_packets import PIECE_BYTES, Kind, pack_start, pack_word

WINDOW_BYTES: Final = 32 << 20
"""Of large requests, and of large answers, that may be under way on one connection in one direction. A
message alone may be larger."""
SMALL_BYTES: Final = 4 << 10
"""Messages up to this size are not counted."""
_SMALL_IN_A_ROW: Final = 8
"""Small messages go first, but not for ever."""

_PIECE_OF: Final = {Kind.REQUEST: Kind.REQUEST_PIECE, Kind.ANSWER: Kind.ANSWER_PIECE}
_NOTHING: Final = memoryview(b"")


class Outgoing:
    """A request or an answer on its way out."""

    __slots__ = ("_detail", "_envelope", "_raw", "_sent", "begun", "kind", "number", "order", "size")

    def __init__(
        self,
        kind: Kind,
        number: int,
        detail: Callable[[], int],
        envelope: bytes,
        raw: bytes,
        order: Hashable = None,
    ) -> None:
        self.kind = kind
        self.number = number
        self.order = order
        """Of which no message overtakes another; None where that does not matter."""
        self._detail = detail
        """Asked when the message leaves: time passes while it waits."""
        self.size = len(envelope) + len(raw)
        self.begun = False
        """Some of it has left."""
        self._envelope = memoryview(envelope)
        self._raw = memoryview(raw)
        self._sent = 0

    @property
    def is_large(self) -> bool:
        """Whether it needs room in the window."""
        return self.size > SMALL_BYTES

    @property
    def has_left(self) -> bool:
        """Whether all of it is on its way."""
        return self.begun and self._sent == self.size

    def next_piece(self) -> tuple[bytes, memoryview]:
        """Header and body of the next packet."""
        envelope = self._envelope[self._sent : self._sent + PIECE_BYTES]
        first = max(0, self._sent - len(self._envelope))
        raw = self._raw[first : first + PIECE_BYTES - len(envelope)]
        if self._sent + len(envelope) < len(self._envelope):
            raw = _NOTHING
        if self.begun:
            head = pack_word(_PIECE_OF[self.kind], self.number)
        else:
            head = pack_start(self.kind, self.number, self._detail(), len(self._envelope), len(self._raw))
            self.begun = True
        self._sent += len(envelope) + len(raw)
        return head + envelope, raw


class Sent(NamedTuple):
    """A packet to write now. ``message``: the one whose last piece this is."""

    header: bytes
    body: memoryview
    message: Outgoing | None


class SendQueue:
    """Of one connection. Whoever writes calls ``next`` for as long as there is room to write."""

    def __init__(self) -> None:
        self._words: deque[bytes] = deque()
        self._small: deque[Outgoing] = deque()
        self._large: deque[Outgoing] = deque()
        """Under way, one piece of each in turn."""
        self._waiting: dict[Kind, deque[Outgoing]] = {Kind.REQUEST: deque(), Kind.ANSWER: deque()}
        """For room in the window."""
        self._held: dict[Kind, dict[int, int]] = {Kind.REQUEST: {}, Kind.ANSWER: {}}
        """Bytes of each large message that the receiver may hold still."""
        self._held_bytes = {Kind.REQUEST: 0, Kind.ANSWER: 0}
        self._lines: dict[Hashable, deque[Outgoing]] = {}
        """By order, the messages that have not left. Only the first of each is in a queue above."""
        self._row = 0
        self._pong = False

    def word(self, kind: Kind, number: int) -> None:
        """Have a packet sent that is nothing but its header, before everything else."""
        self._words.append(pack_word(kind, number))

    def pong(self) -> None:
        """The same with a ``PONG``; one answers all pings that came before it leaves."""
        self._pong = True

    def put(self, message: Outgoing) -> None:
        """Have a request or answer sent."""
        if message.order is not None:
            line = self._lines.setdefault(message.order, deque())
            line.append(message)
            if len(line) > 1:
                return
        self._begin(message)

    def _begin(self, message: Outgoing) -> None:
        if message.is_large:
            self._waiting[message.kind].append(message)
            self._admit(message.kind)
        else:
            self._small.append(message)

    def withdraw(self, message: Outgoing) -> None:
        """Send no more of it. One that was begun keeps its room until ``freed``."""
        for queue in (self._small, self._large, self._waiting[message.kind]):
            if message in queue:
                queue.remove(message)
        if not message.begun:
            self.freed(message.kind, message.number)
        self._leave(message)

    def _leave(self, message: Outgoing) -> None:
        """Nothing more of it is to be sent: the next one of its order begins."""
        line = self._lines.get(message.order)
        if line is None or message not in line:
            return
        was_first = line[0] is message
        line.remove(message)
        if not line:
            del self._lines[message.order]
        elif was_first:
            self._begin(line[0])

    def freed(self, kind: Kind, number: int) -> bool:
        """The receiver is done with a message; whether it had one of this number that was counted."""
        size = self._held[kind].pop(number, None)
        if size is None:
            return False
        self._held_bytes[kind] -= size
        self._admit(kind)
        return True

    def next(self) -> Sent | None:
        """What goes next; None when nothing may."""
        if self._pong:
            self._pong = False
            return Sent(pack_word(Kind.PONG, 0), _NOTHING, None)
        if self._words:
            return Sent(self._words.popleft(), _NOTHING, None)
        if self._small and (self._row < _SMALL_IN_A_ROW or not self._large):
            self._row += 1
            message = self._small.popleft()
            header, body = message.next_piece()
            self._leave(message)
            return Sent(header, body, message)
        if self._large:
            self._row = 0
            message = self._large.popleft()
            header, body = message.next_piece()
            if message.has_left:
                self._leave(message)
                return Sent(header, body, message)
            self._large.append(message)
            return Sent(header, body, None)
        return None

    @property
    def under_way_bytes(self) -> int:
        """Of large messages that the receiver may hold."""
        return sum(self._held_bytes.values())

    def _admit(self, kind: Kind) -> None:
        waiting, held = self._waiting[kind], self._held[kind]
        while waiting and (not held or self._held_bytes[kind] + waiting[0].size <= WINDOW_BYTES):
            message = waiting.popleft()
            held[message.number] = message.size
            self._held_bytes[kind] += message.size
            self._large.append(message)
