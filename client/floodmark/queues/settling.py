"""What has ended is told to the cluster: many at once, again and again until it is known to be stored."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from floodmark.errors import FloodmarkError, InvalidRequest, ReceiptExpired
from floodmark.queues.shapes import Outcome, Settlement
from floodmark.transport.pacing import Backoff, may_pass

_LOG: Final = logging.getLogger("floodmark")
AT_ONCE: Final = 1000
_OPEN_MAX: Final = 10_000
"""Beyond so many that are not known to be stored, whoever ends another one waits."""
_LATE: Final = (
    "its time was up, so the record is delivered again: raise the queue's visibility timeout, or keep the "
    "event loop free, so that the time of what is in hand can be extended"
)

Send = Callable[[Sequence[Settlement]], Awaitable[Sequence[Outcome]]]


class Ending:
    """A settlement on its way. ``told``: for whoever waits for it."""

    __slots__ = ("is_alone", "settlement", "told")

    def __init__(self, settlement: Settlement, told: asyncio.Future[None] | None) -> None:
        self.settlement = settlement
        self.told = told
        self.is_alone = False
        """It may be why a request was refused as a whole."""

    @property
    def can_ride(self) -> bool:
        """Whether a receive may take it along, which may wait: nobody waits for what comes of it."""
        return self.told is None and not self.is_alone


class Settler:
    """Settlements of one queue, in order. To send one twice does no harm.

    What nobody waits for are left to the next receive while one is about to be sent
    (``leave_to_receive``); all else is sent at once, together with those that come while a request is
    under way.
    """

    def __init__(self, queue: str, send: Send) -> None:
        self._queue = queue
        self._send = send
        self._open: deque[Ending] = deque()
        self._under_way = 0
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._rides_along = False

    async def add(self, settlement: Settlement) -> None:
        """Send it soon. Returns at once, unless too many are open."""
        self._add(Ending(settlement, None))
        await self._room.wait()

    async def add_and_wait(self, settlement: Settlement) -> None:
        """Send it, and wait until it is stored. Raises ``ReceiptExpired``, and what the cluster refuses."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(Ending(settlement, told))
        await told

    def leave_to_receive(self) -> None:
        """A receive will be sent as soon as something ends: ``take_along`` then gives what it takes along."""
        self._rides_along = True

    def send_alone(self) -> None:
        """There will be no receive."""
        self._rides_along = False
        if self._open:
            self._wake()

    def take_along(self) -> list[Ending]:
        """Those for the receive that is now sent; ``arrived`` or ``put_back`` has to follow."""
        self._rides_along = False
        taken: list[Ending] = []
        while self._open and self._open[0].can_ride and len(taken) < AT_ONCE:
            taken.append(self._open.popleft())
        self._under_way += len(taken)
        if self._open:
            self._wake()
        return taken

    def put_back(self, endings: Sequence[Ending]) -> None:
        """What was sent may not have arrived: it is sent again."""
        if endings:
            self._under_way -= len(endings)
            self._open.extendleft(reversed(endings))
            self._wake()

    def part(self, endings: Sequence[Ending]) -> None:
        """What was sent was refused as a whole: send each alone, so that only what is wrong is refused."""
        for ending in endings:
            ending.is_alone = True
        self.put_back(endings)

    def arrived(self, endings: Sequence[Ending], outcomes: Sequence[Outcome]) -> None:
        """This is what came of them."""
        late = 0
        for ending, outcome in zip(endings, outcomes, strict=True):
            is_late = outcome is Outcome.LATE
            late += is_late and ending.told is None
            self._tell(ending, ReceiptExpired(f"the delivery is over: {_LATE}") if is_late else None)
        if late:
            _LOG.warning("queue %s: %d deliveries ended too late: %s", self._queue, late, _LATE)
        self._done(len(endings))

    async def close(self, timeout_s: float) -> None:
        """Send what is open, for at most so long; then it is given up, and delivered again some time."""
        self.send_alone()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            _LOG.warning("queue %s: %d deliveries may not be settled", self._queue, self._count)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            for ending in self._open:
                self._tell(ending, ReceiptExpired("the worker was closed before it was known to be stored"))

    @property
    def _count(self) -> int:
        return len(self._open) + self._under_way

    def _add(self, ending: Ending) -> None:
        self._open.append(ending)
        self._empty.clear()
        if self._count >= _OPEN_MAX:
            self._room.clear()
        if not (ending.can_ride and self._rides_along):
            self._wake()

    def _wake(self) -> None:
        self._due.set()
        if self._task is None:
            self._task = asyncio.create_task(self._send_on())

    async def _send_on(self) -> None:
        backoff = Backoff()
        while True:
            await self._due.wait()
            if not self._open:
                self._due.clear()
                continue
            endings = self._take()
            try:
                outcomes = await self._send([ending.settlement for ending in endings])
            except FloodmarkError as error:
                if may_pass(error):
                    self.put_back(endings)
                    await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                elif isinstance(error, InvalidRequest) and len(endings) > 1:
                    self.part(endings)
                else:
                    self._refused(endings, error)
            except BaseException:
                self.put_back(endings)
                raise
            else:
                backoff.reset()
                self.arrived(endings, outcomes)

    def _take(self) -> list[Ending]:
        endings = [self._open.popleft()]
        while self._open and len(endings) < AT_ONCE and not (endings[0].is_alone or self._open[0].is_alone):
            endings.append(self._open.popleft())
        self._under_way += len(endings)
        return endings

    def _refused(self, endings: Sequence[Ending], error: FloodmarkError) -> None:
        unseen = sum(ending.told is None for ending in endings)
        if unseen:
            _LOG.error("queue %s: %d deliveries could not be settled: %s", self._queue, unseen, error)
        for ending in endings:
            self._tell(ending, error)
        self._done(len(endings))

    @staticmethod
    def _tell(ending: Ending, error: FloodmarkError | None) -> None:
        if ending.told is None or ending.told.done():
            return
        if error is None:
            ending.told.set_result(None)
        else:
            ending.told.set_exception(error)

    def _done(self, count: int) -> None:
        self._under_way -= count
        if self._count < _OPEN_MAX:
            self._room.set()
        if not self._count:
            self._empty.set()
