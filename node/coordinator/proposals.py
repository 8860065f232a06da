"""What one leadership of a shard has on its way into the log: pairs of groups and of queues.

What is decided while a frame is under way, for whichever groups and queues, travels in the next one: a frame
costs all replicas more than the pairs in it. A pair that is decided again before it travels does so once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from functools import partial
from typing import Final

from floodmark.errors import FloodmarkError, NotEnoughReplicas, TooManyRequests, Unavailable
from floodmark.format.frame import FrameKind

from consensus.core.keyed_state import command
from consensus.host import waiting
from consensus.host.deadlines import after
from consensus.host.group_host import GroupHost
from consensus.types import GroupStopped, NotLeader, Outcome, Stored
from node import outcomes
from node.coordinator.machine import Pairs
from node.coordinator.tally import CoordinatorTally
from node.pace import Departure, Pace

FRAME_BYTES_AIM: Final = 256 << 10
"""Pairs of several requests share a frame up to this size, which takes followers some milliseconds."""
WAITING_BYTES_MAX: Final = 16 << 20
"""Of one shard: pairs that are not stored yet. Beyond it requests are refused."""


class Entry:
    """What some steps decided, on its way into the log as one frame: all of it is stored or nothing.

    ``done``: stored and applied here, or what it failed with. ``changes``: how many steps. ``came`` is called
    for each who waits for it before it has left.
    """

    __slots__ = ("_came", "_waiting", "changes", "done", "has_left", "pairs", "size")

    def __init__(self, done: asyncio.Future[None], came: Callable[[], None]) -> None:
        self.pairs: dict[bytes, bytes | None] = {}
        self.size = 0
        self.changes = 0
        self.has_left = False
        """Proposed: nothing more is added to it."""
        self.done = done
        self._came = came
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        """How many requests wait for it."""
        return len(self._waiting)

    async def stored(self, deadline: float) -> None:
        """Wait until it is. ``deadline``: of the event loop's clock. Raises what it failed with;
        ``OutcomeUnknown`` at the deadline."""
        if self.done.done():
            self.done.result()
            return
        loop = asyncio.get_running_loop()
        waits: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waits)
        if not self.has_left:
            self._came()
        timer = after(deadline - loop.time(), partial(_too_late, waits))
        try:
            await waits
        finally:
            timer.cancel()

    def settle(self, error: FloodmarkError | None) -> None:
        """It is known what came of it."""
        waiting, self._waiting = self._waiting, []
        for each in (self.done, *waiting):
            if each.done():
                continue  # Who waited has left.
            if error is None:
                each.set_result(None)
            else:
                each.set_exception(error)


class Proposals:
    """Those of one term. ``Unavailable`` everywhere says that nothing was stored."""

    def __init__(self, *, host: GroupHost, raft_group: int, tally: CoordinatorTally) -> None:
        self._host = host
        self._raft_group = raft_group
        self._tally = tally
        self._next: list[Entry] = []
        """Decided and not proposed: all but the last one are as large as frames are to be."""
        self._pace = Pace(self._propose, lambda: sum(entry.waiting for entry in self._next))
        self._under_way: set[Entry] = set()
        self._keys: dict[bytes, Entry] = {}
        """The keys that are about to change, and by what."""
        self._waiting_bytes = 0
        self._failure: FloodmarkError | None = None

    def end(self, error: FloodmarkError) -> None:
        """The leadership is over: whoever waits is told at once.

        What was proposed may still be stored, by the next leader; all else was not.
        """
        self._failure = error
        self._pace.departs()
        entries, self._next = self._next, []
        self._settle(entries, error)
        lost = outcomes.unknown("this node no longer leads the shard of the coordinator that keeps it")
        self._settle(list(self._under_way), lost)

    def check(self) -> None:
        """Raises ``Unavailable`` once the leadership is over."""
        if self._failure is not None:
            raise self._failure

    def check_room(self) -> None:
        """Raises ``TooManyRequests`` while too much is not stored yet."""
        if self._waiting_bytes > WAITING_BYTES_MAX:
            raise TooManyRequests(
                f"{self._waiting_bytes} bytes of this shard of the coordinator are not stored yet; nothing "
                "of this was, send it later",
                retry_after_s=outcomes.RETRY_AFTER_S,
            )

    @property
    def keys(self) -> Collection[bytes]:
        """Those that are about to change."""
        return self._keys.keys()

    def under_way(self, keys: Iterable[bytes]) -> Entry | None:
        """What is on its way and changes one of these keys."""
        return next((self._keys[key] for key in keys if key in self._keys), None)

    async def confirm(self, deadline: float) -> None:
        """A majority has confirmed after the call that this node leads, and all that was stored before is
        applied here. ``deadline``: of the event loop's clock. Raises ``Unavailable``.
        """
        self.check()
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await self._host.confirm_lead(self._raft_group, deadline_s=left)
        except (NotLeader, GroupStopped) as error:
            raise outcomes.translated(error) from error
        except Unavailable as error:
            raise NotEnoughReplicas(
                f"{error.detail}; nothing was stored", retry_after_s=outcomes.RETRY_AFTER_S
            ) from error
        self.check()

    def add(self, pairs: Pairs) -> Entry:
        """Have them stored, all or none, and after all that was added before. Raises ``TooManyRequests``."""
        self.check_room()
        size = sum([len(key) + len(value or b"") for key, value in pairs])
        entry = self._open(size)
        entry.size += size
        entry.changes += 1
        entry.pairs.update(pairs)
        self._waiting_bytes += size
        for key, _ in pairs:
            self._keys[key] = entry
        if len(self._next) > 1:
            self._pace.send_soon()
        else:
            self._pace.came()
        return entry

    def _open(self, size: int) -> Entry:
        """The entry that takes so many bytes more."""
        entries = self._next
        if entries and entries[-1].size + size <= FRAME_BYTES_AIM:
            return entries[-1]
        entry = Entry(asyncio.get_running_loop().create_future(), self._pace.came)
        entry.done.add_done_callback(_asked_for)
        entries.append(entry)
        return entry

    def _propose(self) -> None:
        self._pace.departs()
        entries, self._next = self._next, []
        for entry in entries:
            entry.has_left = True
            payload = command(entry.pairs.items())
            self._tally.framed(entry.changes, len(payload))
            try:
                proposal = self._host.propose_nowait(self._raft_group, FrameKind.COMMAND, payload)
            except (NotLeader, GroupStopped) as error:
                self._settle([entry], outcomes.translated(error))
                continue
            self._under_way.add(entry)
            proposal.add_done_callback(partial(self._stored, entry, self._pace.departed()))

    def _stored(self, entry: Entry, departure: Departure, outcome: Outcome) -> None:
        if isinstance(outcome, Stored):
            self._pace.arrived(departure, entry.waiting)
            self._settle([entry], None)
        else:
            # What was decided since may go by it, and is not proposed.
            entries, self._next = self._next, []
            self._settle([entry], waiting.failure(outcome))
            self._settle(entries, Unavailable("what it was decided on was not stored, nor was this"))
            self._pace.arrived(departure, 0)

    def _settle(self, entries: list[Entry], error: FloodmarkError | None) -> None:
        for entry in entries:
            self._under_way.discard(entry)
            if entry.done.done():
                continue  # The leadership ended before.
            self._waiting_bytes -= entry.size
            for key in entry.pairs:
                if self._keys.get(key) is entry:
                    del self._keys[key]
            entry.settle(error)


def _asked_for(done: asyncio.Future[None]) -> None:
    done.exception()  # Nobody may be left to ask for it.


def _too_late(waits: asyncio.Future[None]) -> None:
    if not waits.done():
        waits.set_exception(outcomes.unknown("it was not stored in time"))


@contextlib.asynccontextmanager
async def until(deadline: float, error: Callable[[], FloodmarkError]) -> AsyncIterator[None]:
    """What is awaited within for too long ends as ``error``."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise error() from None
