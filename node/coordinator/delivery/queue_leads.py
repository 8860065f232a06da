"""All queues of one shard while this node leads it."""

from __future__ import annotations

import asyncio
import struct
from typing import Final

import structlog
from floodmark.errors import FloodmarkError, ServerError, TooManyQueues, TooNew, Unavailable, UnknownQueue

from node import outcomes
from node.coordinator import keys, values
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.queue_lead import QueueLead
from node.coordinator.keys import Kind
from node.coordinator.machine import CoordinatorMachine
from node.coordinator.proposals import Proposals
from node.coordinator.queues import administration
from node.coordinator.queues.reading import Reading
from node.coordinator.queues.values import QueueValue
from node.coordinator.tasks import Tasks

QUEUES_MAX: Final = 2_000
"""Of one shard."""
KEPT_MAX: Final = 256
"""Queues that are kept decoded though nothing happens to them; any other one is read again from the state."""
AT_ONCE: Final = 32
"""Queues looked at in one turn of the event loop."""
KEYS_AT_ONCE: Final = 5_000
"""Of one queue, likewise."""

DELETE_S: Final = 30.0
_log = structlog.get_logger(__name__)


class QueueLeads:
    """Ends with its term."""

    def __init__(self, proposals: Proposals, machine: CoordinatorMachine, around: QueuesAround) -> None:
        self._proposals = proposals
        self._machine = machine
        self._around = around
        self._leads: dict[str, QueueLead] = {}
        """The one that was asked for last is the last one."""
        self._opening: dict[str, asyncio.Future[None]] = {}
        """Those that are still being read."""
        self._failure: FloodmarkError | None = None
        self._under_way = 0
        self._anew = False
        """Something was not stored: wait until it is known what was, then begin from that."""
        self._tasks = Tasks()
        self._tasks.begin(self._begin())

    def end(self, error: FloodmarkError) -> None:
        """The leadership is over: whoever waits is told at once."""
        self._failure = error
        self._close(error)

    def of(self, name: str) -> QueueLead:
        """The queue of this name, or what makes it. Raises ``Unavailable``, also where there is so much of it
        that it is still being read, which goes on in the background."""
        if self._failure is not None:
            raise self._failure
        if self._anew:
            raise _again()
        lead = self._leads.pop(name, None)
        if lead is None:
            lead = self._read(name)
        self._leads[name] = lead
        return lead

    async def opened(self, name: str, deadline: float | None = None) -> QueueLead:
        """The same, once it is read. ``deadline``: of the event loop's clock. Raises ``Unavailable``."""
        if name not in self._leads:
            await asyncio.sleep(0)  # Who opens many lets others go on.
        try:
            return self.of(name)
        except Unavailable:
            opening = self._opening.get(name)
            if opening is None:
                raise
        left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.wait((opening,), timeout=left)
        if opening.done():
            opening.result()
        return self.of(name)

    async def confirm(self, deadline: float) -> None:
        """This node led after the call, and all that was stored before is in ``names``."""
        await self._proposals.confirm(deadline)

    def here(self) -> list[QueueLead]:
        """Those that are decoded."""
        return list(self._leads.values())

    def names(self) -> list[str]:
        """All queues of the shard that are stored, in no order."""
        return self._machine.queue_names()

    def stored_keys(self, name: str) -> set[bytes]:
        """Those of a queue that are stored, and those that are about to be."""
        coming = (key for key in self._proposals.keys if keys.kind_of(key) >= keys.QUEUES_FROM)
        return {*self._machine.queue_keys(name), *(key for key in coming if keys.queue_of(key) == name)}

    def check_room(self) -> None:
        """Raises ``TooManyQueues`` where another one would be one too many."""
        if self._machine.queues >= QUEUES_MAX:
            raise TooManyQueues(
                f"the shard of the coordinator that would keep the queue has {QUEUES_MAX} and takes no more: "
                "delete queues that are not used",
                limit=QUEUES_MAX,
            )

    async def delete(self, name: str, *, deadline: float) -> None:
        """Remove all of a queue, in as many steps as it takes; whoever waits for its records is told.

        Raises ``UnknownQueue``, and as ``QueueLead.decide``.
        """
        lead = await self.opened(name, deadline)
        state = lead.view.header
        topics = {letter.at_topic_id for letter in lead.view.dead.values()}
        while True:
            removed = await lead.decide(
                lambda view: administration.delete(view, self.stored_keys(name)), deadline=deadline
            )
            if not removed.more:
                break
        if self._leads.get(name) is lead:
            del self._leads[name]
        lead.close(UnknownQueue(f"queue {name} was deleted", queue=name))
        if state is not None:
            for topic_id in {*topics, state.config.dead_letter_topic_id} - {0}:
                self._tasks.begin(self._forget_letters(topic_id, state.number))

    async def _forget_letters(self, topic_id: int, number: int) -> None:
        try:
            await self._around.letters.forget(topic_id, number)
        except FloodmarkError as error:
            _log.info("positions_not_removed", topic_id=topic_id, queue_number=number, reason=error.detail)

    async def _delete_on(self, name: str) -> None:
        """An earlier leader did not come to the end of it."""
        try:
            await self.delete(name, deadline=asyncio.get_running_loop().time() + DELETE_S)
        except FloodmarkError as error:
            _log.info("queue_not_deleted", queue=name, reason=error.detail)

    def proposed(self) -> None:
        """A queue has proposed something."""
        self._under_way += 1

    def settled(self, error: FloodmarkError | None) -> None:
        """It is stored, or is not. Then every view that was made with it is void, and so may be those of
        other queues, of which something is in the same frame or in a later one."""
        self._under_way -= 1
        if error is not None and not self._anew and self._failure is None:
            _log.info("queues_begin_anew", reason=error.detail)
            self._anew = True
            self._close(_again())
        if self._anew and not self._under_way and self._failure is None:
            self._anew = False
            self._tasks.begin(self._begin())

    def _close(self, error: FloodmarkError) -> None:
        self._tasks.cancel()
        opening, self._opening = self._opening, {}
        for each in opening.values():
            each.set_exception(error)
        leads, self._leads = self._leads, {}
        for lead in leads.values():
            lead.close(error)

    def _read(self, name: str) -> QueueLead:
        """Most take one piece. Nobody changes what is stored of a queue before it is read."""
        if name not in self._opening:
            machine = self._machine
            reading = Reading(name, machine.get, machine.queue_keys(name))
            if _read_piece(reading):
                return self._made(reading)
            opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            opening.add_done_callback(_asked_for)
            self._opening[name] = opening
            self._tasks.begin(self._read_on(reading, opening))
        raise Unavailable(
            f"queue {name} has a new leader, which still reads what is stored of it; nothing was done",
            retry_after_s=outcomes.RETRY_AFTER_S,
        )

    async def _read_on(self, reading: Reading, opening: asyncio.Future[None]) -> None:
        name = reading.queue.name
        try:
            async with self._around.reading:
                await asyncio.sleep(0)
                while not _read_piece(reading):  # noqa: ASYNC110 - a turn of the event loop for each
                    await asyncio.sleep(0)
        except ServerError as error:
            del self._opening[name]
            opening.set_exception(error)
            return
        del self._opening[name]
        self._leads[name] = self._made(reading)
        opening.set_result(None)

    def _made(self, reading: Reading) -> QueueLead:
        if len(self._leads) >= KEPT_MAX:
            self._forget_idle()
        return QueueLead(reading.queue, self._proposals, self._around, self)

    def _forget_idle(self) -> None:
        for name, lead in list(self._leads.items()):
            if lead.is_idle:
                lead.close(_again())
                del self._leads[name]
                if len(self._leads) < KEPT_MAX // 2:
                    return

    async def _begin(self) -> None:
        """Queues with deliveries under way have timers from now on, and what is dying is sent."""
        for number, name in enumerate(self._machine.queue_names()):
            try:
                if self._is_deleting(name):
                    self._tasks.begin(self._delete_on(name))
                elif name not in self._leads and await self._has_runs(name):
                    await self.opened(name)
            except (FloodmarkError, ValueError) as error:
                _log.error("queue_unreadable", queue=name, reason=str(error))
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _has_runs(self, name: str) -> bool:
        for number, key in enumerate(list(self._machine.queue_keys(name))):
            if keys.kind_of(key) == Kind.RUN:
                return True
            if number % KEYS_AT_ONCE == KEYS_AT_ONCE - 1:
                await asyncio.sleep(0)
        return False

    def _is_deleting(self, name: str) -> bool:
        stored = self._machine.get(keys.queue_key(name))
        return stored is not None and values.decode(QueueValue, stored).deleting


def _read_piece(reading: Reading) -> bool:
    """Whether it was the last one. Raises ``ServerError``."""
    try:
        return reading.go_on(clock_s=asyncio.get_running_loop().time())
    except (ValueError, LookupError, struct.error, TooNew) as error:
        name = reading.queue.name
        raise ServerError(f"what is stored of queue {name} cannot be read: {error}") from error


def _asked_for(opening: asyncio.Future[None]) -> None:
    opening.exception()  # Nobody may wait for it.


def _again() -> Unavailable:
    return Unavailable(
        "the leader of the queue begins again from what is stored; nothing was done",
        retry_after_s=outcomes.RETRY_AFTER_S,
    )
