"""One bulk connection, after its handshake: both sides ask and answer on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Final

from consensus.links.bulk_packets import Kind, unpack
from consensus.links.bulk_types import Answer, Room, Serve, ServedBudget, any_size
from consensus.links.framing import FramingError, PacketReader, pack_prefix
from consensus.links.link_tls import Credentials
from consensus.links.requests import Asking
from consensus.links.seal import Seal
from consensus.links.send_queue import SendQueue
from consensus.links.served import Serving
from consensus.throttle import ThrottledLog

_FULL_BYTES: Final = 256 << 10
"""What waits for the operating system goes in order, so small messages wait for all of it."""
_PINGS_PER_DEAD: Final = 4
"""While something is under way, a side that hears nothing is sure of it after so many pings."""
_ASKS: Final = frozenset({Kind.ANSWER, Kind.ANSWER_PIECE})
_ALIVE: Final = frozenset({Kind.PING, Kind.PONG})


class BulkConnection(asyncio.BufferedProtocol):
    """``begin`` takes over the transport of a connection whose handshake has ended well; ``lost`` ends it.

    ``peer`` is the node at the other end, ``dead_after_s`` how long nothing may come while something is
    under way.
    """

    def __init__(
        self,
        peer: str,
        *,
        serve: Serve,
        budget: ServedBudget,
        dead_after_s: float,
        log: ThrottledLog,
        on_lost: Callable[[BulkConnection], None] = lambda _connection: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.peer = peer
        self.credentials = Credentials(b"")
        """Told by whoever has made it, before ``begin``."""
        self.lost: asyncio.Future[None] = loop.create_future()
        self.bytes_sent = 0
        self.bytes_received = 0
        self.refused = 0
        """Packets of the other side that ended the connection."""
        self._now = loop.time
        self._log = log
        self._dead_after_s = dead_after_s
        self._on_lost = on_lost
        self._queue = SendQueue()
        self._asking = Asking(self._queue, self._pump)
        self._serving = Serving(peer, self._queue, self._pump, serve, budget)
        self._transport: asyncio.Transport | None = None
        self._full = self._pumping = False
        self._heard_at = self._pinged_at = 0.0

    def begin(self, transport: asyncio.Transport, *, ours: bytes, theirs: bytes) -> None:
        """``ours`` is the key of what we send, ``theirs`` of what comes."""
        self._transport = transport
        self._seal = Seal(ours)
        self._reader = PacketReader(Seal(theirs))
        self._heard_at = self._pinged_at = self._now()
        transport.set_write_buffer_limits(high=_FULL_BYTES, low=_FULL_BYTES // 4)
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def asked(self) -> int:
        """Requests of ours that have no answer yet."""
        return self._asking.waiting

    @property
    def serving(self) -> int:
        """Requests of the other side that were not answered to the end."""
        return self._serving.running

    @property
    def under_way_bytes(self) -> int:
        """Of large messages that the other side may hold."""
        return self._queue.under_way_bytes

    async def ask(
        self,
        envelope: bytes,
        raw: bytes,
        left_ms: Callable[[], int],
        room: Room = any_size,
        order: Hashable = None,
    ) -> Answer:
        """See ``Asking.ask``."""
        if not self.asked and not self.serving:
            self._heard_at = self._now()  # Silence counts from here.
        return await self._asking.ask(envelope, raw, left_ms, room, order)

    def beat(self, now: float, late: float) -> None:
        """Called all the time: a connection on which nothing comes, though something should, is given up.

        ``late``: how long this process did not run just now.
        """
        if not self.asked and not self.serving:
            return
        self._heard_at = min(now, self._heard_at + late)
        if now - self._heard_at > self._dead_after_s:
            self._log.warning("bulk_connection_stuck", peer=self.peer)
            self.abort()
        elif now - self._pinged_at > self._dead_after_s / _PINGS_PER_DEAD:
            self._pinged_at = now
            self._queue.word(Kind.PING, 0)
            self._pump()

    def refuse(self) -> None:
        """Begin nothing more for the other side."""
        self._serving.refuse()

    async def serve_no_more(self, *, within_s: float) -> None:
        """The same; what runs here has so long to end, and is ended then; all are answered."""
        self.refuse()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._serving.idle.wait()
        self._serving.cancel_all()
        await asyncio.sleep(0)  # Tasks end, and their answers are queued.
        await asyncio.sleep(0)

    async def stop(self, *, within_s: float) -> None:
        """Close once what runs here and what was asked has its answer, or after so long."""
        self.refuse()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._asking.idle.wait()
                await self._serving.idle.wait()
        await self.serve_no_more(within_s=0)
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.lost], timeout=0.5)
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        transport = self._transport
        if transport is not None:
            transport.abort()
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Whatever was under way ends."""
        if self._transport is None:
            return
        self._transport = None
        self._asking.lost()
        self._serving.lost()
        self._on_lost(self)
        self.lost.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where the next bytes go."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._transport is None:
            return
        self._heard_at = self._now()
        self.bytes_received += nbytes
        try:
            for header, body in self._reader.received(nbytes):
                if not header:
                    raise FramingError("a beat has no place on a bulk connection")  # noqa: TRY301
                packet = unpack(header, body)
                if packet.kind in _ASKS:
                    self._asking.take(packet)
                elif packet.kind not in _ALIVE:
                    self._serving.take(packet)
                elif packet.kind is Kind.PING:
                    self._queue.pong()
                    self._pump()
                if not self._stands():
                    return
        except FramingError as error:
            self.refused += 1
            self._log.warning("bulk_connection_refused", peer=self.peer, reason=str(error))
            self.abort()

    def _stands(self) -> bool:
        return self._transport is not None

    def pause_writing(self) -> None:
        """Called by the transport."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the transport."""
        self._full = False
        self._pump()

    def _pump(self) -> None:
        """Write for as long as there is room."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._transport is not None and not self._full:
                sent = self._queue.next()
                if sent is None:
                    break
                head = pack_prefix(len(sent.header), len(sent.body)) + sent.header
                mark = self._seal.mark(head, (sent.body,), len(sent.body))
                self._transport.writelines([head, sent.body, mark] if sent.body else [head, mark])
                self.bytes_sent += len(head) + len(sent.body) + len(mark)
                if sent.message is not None and sent.message.kind is Kind.ANSWER:
                    self._serving.sent(sent.message)
        finally:
            self._pumping = False
