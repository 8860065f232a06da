"""What one leadership of a shard has on its way into the log: pairs of groups and of queues.

What is decided within one turn of the event loop, for whichever groups and queues, travels in one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Final

from floodmark.errors import FloodmarkError, NotEnoughReplicas, TooManyRequests, Unavailable
from floodmark.format.frame import FrameKind

from consensus.core.keyed_state import command
from consensus.host import waiting
from consensus.host.group_host import GroupHost
from consensus.types import GroupStopped, NotLeader, Outcome, Stored
from node import outcomes
from node.coordinator.machine import Pairs
from node.coordinator.tally import CoordinatorTally

FRAME_BYTES_AIM: Final = 256 << 10
"""Pairs of several requests share a frame up to this size, which takes followers some milliseconds."""
WAITING_BYTES_MAX: Final = 16 << 20
"""Of one shard: pairs that are not stored yet. Beyond it requests are refused."""


class Entry:
    """What one step decided, on its way into the log. ``done``: stored and applied here, or what it failed
    with."""

    __slots__ = ("done", "pairs", "size")

    def __init__(self, pairs: Pairs, done: asyncio.Future[None]) -> None:
        self.pairs = pairs
        self.size = sum([len(key) + len(value or b"") for key, value in pairs])
        self.done = done


class Proposals:
    """Those of one term. ``Unavailable`` everywhere says that nothing was stored."""

    def __init__(self, *, host: GroupHost, raft_group: int, tally: CoordinatorTally) -> None:
        self._host = host
        self._raft_group = raft_group
        self._tally = tally
        self._next: list[Entry] = []
        """For the frame that this turn of the event loop is going to propose."""
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
        loop = asyncio.get_running_loop()
        entry = Entry(pairs, loop.create_future())
        entry.done.add_done_callback(_asked_for)
        self._waiting_bytes += entry.size
        for key, _ in pairs:
            self._keys[key] = entry
        if not self._next:
            loop.call_soon(self._propose)
        self._next.append(entry)
        return entry

    def _propose(self) -> None:
        entries, self._next = self._next, []
        for together in _frames(entries):
            payload = command(pair for entry in together for pair in entry.pairs)
            self._tally.framed(len(together), len(payload))
            try:
                proposal = self._host.propose_nowait(self._raft_group, FrameKind.COMMAND, payload)
            except (NotLeader, GroupStopped) as error:
                self._settle(together, outcomes.translated(error))
                continue
            self._under_way.update(together)
            proposal.add_done_callback(partial(self._stored, together))

    def _stored(self, entries: list[Entry], outcome: Outcome) -> None:
        self._settle(entries, None if isinstance(outcome, Stored) else waiting.failure(outcome))

    def _settle(self, entries: list[Entry], error: FloodmarkError | None) -> None:
        for entry in entries:
            self._under_way.discard(entry)
            if entry.done.done():
                continue  # The leadership ended before.
            self._waiting_bytes -= entry.size
            for key, _ in entry.pairs:
                if self._keys.get(key) is entry:
                    del self._keys[key]
            if error is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(error)


def _asked_for(done: asyncio.Future[None]) -> None:
    done.exception()  # Nobody may be left to ask for it.


def _frames(entries: list[Entry]) -> Iterator[list[Entry]]:
    together: list[Entry] = []
    size = 0
    for entry in entries:
        if together and size + entry.size > FRAME_BYTES_AIM:
            yield together
            together, size = [], 0
        together.append(entry)
        size += entry.size
    if together:
        yield together


@contextlib.asynccontextmanager
async def until(deadline: float, error: Callable[[], FloodmarkError]) -> AsyncIterator[None]:
    """What is awaited within for too long ends as ``error``."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise error() from None
