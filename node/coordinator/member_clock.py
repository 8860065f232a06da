"""Ends members whose time is over, and gives those of a group new targets when topics come, go or grow.

One timer for all members of a shard, set to the first deadline: a group without members costs nothing, and
one with members what their heartbeats cost. Deadlines are of this process's monotonic clock and are not
replicated: a new leader gives every member its whole time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import structlog
from floodmark.errors import FloodmarkError

from node.coordinator import keys
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.groups.sessions import Over, Sessions
from node.coordinator.keys import Kind
from node.coordinator.steps import GroupSteps
from node.coordinator.tally import CoordinatorTally
from node.coordinator.tasks import Tasks

if TYPE_CHECKING:
    from node.coordinator.lead import Lead

END_S: Final = 10.0
"""How long the end of a member may take to be stored; after ``AGAIN_S`` it is tried again."""
AGAIN_S: Final = 1.0
HELD_UP_S: Final = 1.0
"""A timer that is this late says that the process did not run: heartbeats may wait to be read."""
AT_ONCE: Final = 32
"""Groups looked at in one turn of the event loop."""

_log = structlog.get_logger(__name__)


class MemberClock:
    """That of one ``Lead``, and as long."""

    def __init__(self, lead: Lead, steps: GroupSteps, tally: CoordinatorTally) -> None:
        self._lead = lead
        self._steps = steps
        self._tally = tally
        self._sessions = Sessions()
        self._with_members: set[str] = set()
        """The groups that have members, or had: all others are never looked at."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self._stale: set[str] = set()
        """Groups that may need new targets."""
        self._refreshing = False
        self._closed = False

    @property
    def members(self) -> int:
        """About how many there are."""
        return len(self._sessions)

    def begin(self, names: Iterable[str], keys_of: Callable[[str], Iterable[bytes]]) -> None:
        """This node leads since now: everybody has their whole time."""
        self._tasks.begin(self._restore(list(names), keys_of))

    def close(self) -> None:
        """The leadership is over. What was stored just before may still be told, and sets no timer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._tasks.cancel()

    def answered(self, group: str, answer: MemberAnswer) -> None:
        """A member joined or sent a heartbeat, and what came of it is stored."""
        self._sessions.answered(group, answer, self._now())
        self._set()

    def applied(self, key: bytes, value: bytes | None) -> None:
        """A pair of some group was applied."""
        if keys.kind_of(key) != Kind.MEMBER:
            return
        found = keys.parse(key)
        if value is None:
            self._sessions.gone(found.group, found.member)
        else:
            self._with_members.add(found.group)

    def topics_changed(self) -> None:
        """Topics came, went or grew."""
        self._stale |= self._with_members
        if self._stale and not self._refreshing:
            self._refreshing = True
            self._tasks.begin(self._refresh())

    async def _restore(self, names: list[str], keys_of: Callable[[str], Iterable[bytes]]) -> None:
        for number, name in enumerate(names):
            if any(keys.kind_of(key) == Kind.MEMBER for key in keys_of(name)):
                self._with_members.add(name)
                self._sessions.restored(self._lead.view(name), self._now())
                self._set()
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        # What has changed while nobody led, or an earlier leader did not come to.
        self.topics_changed()

    async def _refresh(self) -> None:
        try:
            while self._stale:
                name = self._stale.pop()
                if not self._lead.view(name).members:
                    self._with_members.discard(name)
                    continue
                try:
                    deadline = self._now() + END_S
                    await self._lead.decide(name, self._steps.refresh(), deadline=deadline, quick=True)
                except FloodmarkError as error:
                    _log.warning("targets_not_made", group=name, reason=error.detail)
                    self._stale.add(name)
                    await asyncio.sleep(AGAIN_S)
                await asyncio.sleep(0)
        finally:
            self._refreshing = False

    def _set(self) -> None:
        """Have the timer go off at the first deadline."""
        at = self._sessions.next()
        timer = self._timer
        if self._closed or at is None or (timer is not None and timer.when() <= at):
            return
        if timer is not None:
            timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._look, at)

    def _look(self, at: float) -> None:
        self._timer = None
        now = self._now()
        late = self._sessions.due(now)
        if now - at > HELD_UP_S:
            for over in late:
                self._sessions.postpone(over, now + HELD_UP_S)
        else:
            for over in late:
                self._tasks.begin(self._end(over))
        self._set()

    async def _end(self, over: Over) -> None:
        step = self._steps.end(over, lambda: self._sessions.is_over(over, self._now()))
        try:
            ended = await self._lead.decide(over.group, step, deadline=self._now() + END_S)
        except FloodmarkError as error:
            _log.warning("member_not_ended", group=over.group, member=over.member_id, reason=error.detail)
        else:
            if ended:
                self._tally.ended += 1
                _log.info("member_ended", group=over.group, member=over.member_id, epoch=over.epoch)
                return
        now = self._now()
        if self._sessions.is_over(over, now):
            self._sessions.postpone(over, now + AGAIN_S)
        self._set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
