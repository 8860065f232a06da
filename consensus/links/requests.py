"""The asking side of a bulk connection: requests by number, until each has its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from consensus.links.bulk_packets import Arriving, Kind, Outcome, Packet
from consensus.links.bulk_types import REQUESTS_MAX, Answer, Overloaded, Room, Unanswered, Unreached
from consensus.links.framing import FramingError
from consensus.links.send_queue import SMALL_BYTES, WINDOW_BYTES, Outgoing, SendQueue


class _Question:
    """One request without an answer."""

    __slots__ = ("answer", "arriving", "message", "room")

    def __init__(self, message: Outgoing, room: Room, answer: asyncio.Future[Answer]) -> None:
        self.message = message
        self.room = room
        self.answer = answer
        self.arriving: Arriving | None = None


class Asking:
    """Of one connection. ``pump`` writes what is in ``queue``."""

    def __init__(self, queue: SendQueue, pump: Callable[[], None]) -> None:
        self._queue = queue
        self._pump = pump
        self._number = 0
        self._open: dict[int, _Question] = {}
        self._given_up: set[int] = set()
        """Whose answer is still to come, and of no use."""
        self._held: dict[int, int] = {}
        """Large answers that have begun to come, with their bytes."""
        self._held_bytes = 0
        self._lost = False
        self.idle = asyncio.Event()
        """Set while nobody waits for an answer."""
        self.idle.set()

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return len(self._open) + len(self._given_up)

    async def ask(
        self, envelope: bytes, raw: bytes, left_ms: Callable[[], int], room: Room, order: Hashable = None
    ) -> Answer:
        """Send a request and wait for its answer, for as long as the caller does: cancelling tells the peer.

        Requests of one ``order`` arrive in the order of these calls, unless it is None.
        ``room`` is told the size of the answer before it is held, and may raise. Raises ``Unreached``,
        ``Overloaded``, ``Unanswered``, and what ``room`` raises.
        """
        if self._lost:
            raise Unreached("the connection is closed")
        if self.waiting >= REQUESTS_MAX:
            raise Overloaded(f"{REQUESTS_MAX} requests wait for that node")
        self._number += 1
        message = Outgoing(Kind.REQUEST, self._number, left_ms, envelope, raw, order)
        question = _Question(message, room, asyncio.get_running_loop().create_future())
        self._open[message.number] = question
        self.idle.clear()
        self._queue.put(message)
        self._pump()
        try:
            return await question.answer
        finally:
            if self._open.pop(message.number, None) is not None:
                self._give_up(question)
            if not self._open:
                self.idle.set()

    def take(self, packet: Packet) -> None:
        """An answer, or a piece of one. Raises ``FramingError``."""
        question = self._open.get(packet.number)
        if packet.kind is Kind.ANSWER:
            self._begin(packet, question)
        elif question is not None:
            if question.arriving is None:
                raise FramingError("a piece of an answer that has not begun")
            question.arriving.take(packet)
            self._look(question)
        # else: nobody waits for it any more.

    def lost(self) -> None:
        """The connection is gone: nothing is left open."""
        self._lost = True
        questions, self._open = list(self._open.values()), {}
        self._given_up.clear()
        for question in questions:
            _fail(question, "the connection was lost")

    def _begin(self, packet: Packet, question: _Question | None) -> None:
        number, size = packet.number, packet.envelope_bytes + packet.raw_bytes
        if size > SMALL_BYTES:
            if self._held and self._held_bytes + size > WINDOW_BYTES:
                raise FramingError("more bytes of answers than there is room for")
            self._held[number] = size
            self._held_bytes += size
        if question is None:
            if number not in self._given_up:
                raise FramingError(f"an answer to request {number}, which waits for none")
            self._given_up.discard(number)
            self._queue.freed(Kind.REQUEST, number)
            self._free(number)
            return
        if question.arriving is not None or not question.message.begun:
            raise FramingError("a second answer to a request, or one to none that was sent")
        if not question.message.has_left:
            self._queue.withdraw(question.message)
            self._pump()  # What waited for it to leave.
        self._queue.freed(Kind.REQUEST, number)
        try:
            question.room(packet.envelope_bytes, packet.raw_bytes)
        # Whatever it raises is for who asked.
        except Exception as error:  # noqa: BLE001
            del self._open[number]
            _settle(question, error)
            self._queue.word(Kind.CANCEL, number)  # No more of it needs to come.
            self._free(number)
            self._pump()
            return
        question.arriving = Arriving(packet)
        self._look(question)

    def _look(self, question: _Question) -> None:
        arriving = question.arriving
        assert arriving is not None
        if not arriving.whole:
            return
        del self._open[arriving.number]
        outcome = Outcome(arriving.detail)
        if outcome is Outcome.REFUSED:
            _settle(question, Unreached("the node took no request"))
        elif outcome is Outcome.ENDED:
            _settle(question, Unanswered("the node ended the request without an answer"))
        else:
            _settle(question, Answer(outcome, *arriving.parts()))
        self._free(arriving.number)

    def _give_up(self, question: _Question) -> None:
        message = question.message
        if not message.has_left:
            self._queue.withdraw(message)
        if self._lost:
            return
        if message.begun:
            self._queue.word(Kind.CANCEL, message.number)
            if question.arriving is None:
                self._given_up.add(message.number)
            else:
                self._free(message.number)
        self._pump()

    def _free(self, number: int) -> None:
        """A large answer is not held here (any more)."""
        size = self._held.pop(number, None)
        if size is not None:
            self._held_bytes -= size
            self._queue.word(Kind.FREED, number)
            self._pump()


def _fail(question: _Question, reason: str) -> None:
    _settle(question, Unanswered(reason) if question.message.has_left else Unreached(reason))


def _settle(question: _Question, result: Answer | Exception) -> None:
    if question.answer.done():
        return
    if isinstance(result, Exception):
        question.answer.set_exception(result)
    else:
        question.answer.set_result(result)
