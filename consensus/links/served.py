"""The answering side of a bulk connection: each request runs as a task, and gets exactly one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from consensus.links.bulk_packets import Arriving, Kind, Outcome, Packet
from consensus.links.bulk_types import REQUESTS_MAX, Serve, Served, ServedBudget
from consensus.links.framing import FramingError
from consensus.links.send_queue import SMALL_BYTES, WINDOW_BYTES, Outgoing, SendQueue

_LATE_S = 2.0
"""How much longer than its answer is of use a handler may run: it ends by itself, and tells why."""

_log = structlog.get_logger("consensus.links.served")


class _Request:
    """One that came, until the last of its answer has left."""

    __slots__ = ("answer", "arriving", "held", "served", "task")

    def __init__(self, held: int, arriving: Arriving) -> None:
        self.held = held
        """Bytes of the node's budget."""
        self.arriving: Arriving | None = arriving
        self.task: asyncio.Task[None] | None = None
        self.served: Served | None = None
        self.answer: Outgoing | None = None

    def release(self) -> None:
        """The answer has left, or is of no use."""
        served, self.served = self.served, None
        if served is not None:
            served.release()


class Serving:
    """Of one connection. ``pump`` writes what is in ``queue``."""

    def __init__(
        self, peer: str, queue: SendQueue, pump: Callable[[], None], serve: Serve, budget: ServedBudget
    ) -> None:
        self._peer = peer
        self._queue = queue
        self._pump = pump
        self._serve = serve
        self._budget = budget
        self._requests: dict[int, _Request] = {}
        self._large: dict[int, int] = {}
        """Large requests that have no answer yet, with their bytes."""
        self._large_bytes = 0
        self._refuses = self._lost = False
        self.idle = asyncio.Event()
        """Set while there is none."""
        self.idle.set()

    @property
    def running(self) -> int:
        """Requests that were not answered to the end."""
        return len(self._requests)

    def take(self, packet: Packet) -> None:
        """A request, a piece of one, or what the asker says of it. Raises ``FramingError``."""
        if packet.kind is Kind.REQUEST:
            self._begin(packet)
        elif packet.kind is Kind.CANCEL:
            self._cancel(packet.number)
        elif packet.kind is Kind.FREED:
            if not self._queue.freed(Kind.ANSWER, packet.number):
                raise FramingError("room given back for no answer")
        elif (request := self._requests.get(packet.number)) is not None:
            if request.arriving is None:
                raise FramingError("a piece of a request that is whole")
            request.arriving.take(packet)
            self._look(packet.number, request)
        # else: it was refused, or has ended.

    def sent(self, message: Outgoing) -> None:
        """The last piece of an answer is written."""
        request = self._requests.get(message.number)
        if request is not None:
            request.release()
            self._forget(message.number)

    def refuse(self) -> None:
        """Begin nothing more; what has not come whole is not begun."""
        self._refuses = True
        for number, request in list(self._requests.items()):
            if request.arriving is not None:
                self._end(number, request, Outcome.REFUSED)

    def cancel_all(self) -> None:
        """End what runs: it is answered without a result."""
        for request in self._requests.values():
            if request.task is not None:
                request.task.cancel()

    def lost(self) -> None:
        """The connection is gone, and nobody waits for anything."""
        self._lost = True
        requests, self._requests = self._requests, {}
        self.idle.set()
        for request in requests.values():
            self._budget.give_back(request.held)
            request.held = 0
            request.release()
            if request.task is not None:
                request.task.cancel()

    def _begin(self, packet: Packet) -> None:
        number, size = packet.number, packet.envelope_bytes + packet.raw_bytes
        if number in self._requests:
            raise FramingError("a second request with the number of one that has no answer")
        if len(self._requests) >= REQUESTS_MAX and self._unanswered() >= REQUESTS_MAX:
            raise FramingError("more requests at once than are allowed")
        if size > SMALL_BYTES:
            if self._large and self._large_bytes + size > WINDOW_BYTES:
                raise FramingError("more bytes of requests than there is room for")
            self._large[number] = size
            self._large_bytes += size
        request = self._requests[number] = _Request(0, Arriving(packet))
        self.idle.clear()
        if self._refuses or not self._budget.take(size):
            self._end(number, request, Outcome.REFUSED)
            return
        request.held = size
        self._look(number, request)

    def _look(self, number: int, request: _Request) -> None:
        arriving = request.arriving
        assert arriving is not None
        if arriving.whole:
            request.arriving = None
            envelope, raw = arriving.parts()
            request.task = asyncio.get_running_loop().create_task(
                self._run(request, envelope, raw, arriving.detail / 1000)
            )
            # Not at the end of the task's own code: one that is cancelled at once never gets there.
            request.task.add_done_callback(lambda _task: self._ran(number, request))

    async def _run(self, request: _Request, envelope: bytes, raw: bytes, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s + _LATE_S):
                request.served = await self._serve(self._peer, envelope, raw, timeout_s)
        except TimeoutError:
            pass  # Whoever asked is told that it has ended.
        # A defect of a handler is no reason to lose all others' requests.
        except Exception:  # noqa: BLE001
            _log.exception("request_defect", peer=self._peer)

    def _ran(self, number: int, request: _Request) -> None:
        request.task = None
        served = request.served
        if self._lost:
            request.release()
        elif served is None:
            self._end(number, request, Outcome.ENDED)
        else:
            outcome = Outcome.FAILED if served.failed else Outcome.DONE
            self._answer(number, request, outcome, served.envelope, served.raw)

    def _cancel(self, number: int) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        if request.task is not None:
            request.task.cancel()
        elif request.answer is None:
            self._end(number, request, Outcome.REFUSED)
        else:
            answer = request.answer
            self._queue.withdraw(answer)
            request.release()
            if answer.begun:
                self._forget(number)
            else:
                self._end(number, request, Outcome.ENDED)

    def _end(self, number: int, request: _Request, outcome: Outcome) -> None:
        request.arriving = None
        self._answer(number, request, outcome, b"", b"")

    def _answer(self, number: int, request: _Request, outcome: Outcome, envelope: bytes, raw: bytes) -> None:
        self._budget.give_back(request.held)
        request.held = 0
        self._large_bytes -= self._large.pop(number, 0)
        request.answer = Outgoing(Kind.ANSWER, number, lambda: outcome, envelope, raw)
        self._queue.put(request.answer)
        self._pump()

    def _forget(self, number: int) -> None:
        del self._requests[number]
        if not self._requests:
            self.idle.set()

    def _unanswered(self) -> int:
        """Requests of which the asker has no word yet."""
        return sum(
            1 for request in self._requests.values() if request.answer is None or not request.answer.begun
        )
