"""One shard while this node leads it in one term: who decides, and in which order.

The leader decides and the log carries what comes of it, as keys and values (``machine.py``). A step is a pure
function of one group as it is committed and applied here. Steps that change a group have it to themselves
until what they decided is stored; commits of offsets share it, and wait for each other only where they are
about the same partition.

So a commit that was judged by a member's epoch is stored before that epoch can change, or never: committed
offsets do not go back behind a fence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from floodmark.errors import FloodmarkError, ServerError, TimedOut, TooManyGroups, TooNew

from consensus.host.group_host import GroupHost
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.delivery.queue_leads import QueueLeads
from node.coordinator.group_locks import GroupLocks
from node.coordinator.groups.decision import Decision
from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.machine import CoordinatorMachine, Pairs, group_of
from node.coordinator.member_clock import MemberClock
from node.coordinator.proposals import Entry, Proposals, until
from node.coordinator.steps import GroupSteps, Step
from node.coordinator.tally import CoordinatorTally

VIEWS_MAX: Final = 256
"""Groups that are kept decoded, the last ones used; any other one is read again from the state."""

R = TypeVar("R")


def _nothing(_answer: object) -> None:
    """Nobody is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all shards of a node share. ``catch_up``: waits until this node knows all topics that were made
    before. ``groups_max``: of one shard.
    """

    steps: GroupSteps
    catch_up: Callable[[float], Awaitable[None]]
    groups_max: int
    queues: QueuesAround
    tally: CoordinatorTally


class Lead:
    """Ends with its term."""

    def __init__(
        self,
        *,
        host: GroupHost,
        raft_group: int,
        term: int,
        machine: CoordinatorMachine,
        around: Around,
    ) -> None:
        self.term = term
        self.proposals = Proposals(host=host, raft_group=raft_group, tally=around.tally)
        self._machine = machine
        self._around = around
        self._locks = GroupLocks()
        self._views: OrderedDict[str, Group] = OrderedDict()
        self.queues = QueueLeads(self.proposals, machine, around.queues)
        machine.told = self._replay
        self.clock = MemberClock(self, around.steps, around.tally)
        self.clock.begin(machine.names(), machine.keys_of)

    def end(self, error: FloodmarkError) -> None:
        """The leadership is over: whoever waits is told at once.

        What was proposed may still be stored, by the next leader; all else was not.
        """
        self._machine.told = None
        self.clock.close()
        self._locks.fail(error)
        self.queues.end(error)
        self.proposals.end(error)

    async def decide(
        self,
        name: str,
        step: Step[R],
        *,
        deadline: float,
        shared: bool = False,
        quick: bool = False,
        then: Callable[[R], None] = _nothing,
    ) -> R:
        """The answer of ``step``, once what it decided is stored; ``deadline``: of the event loop's clock.

        ``shared``: it goes by who the members are, and does not change that. ``quick``: where it has nothing
        to store it is answered by what is committed now. ``then`` is told the answer when that is stored,
        whether or not somebody still waits for it.
        Raises what the step raises, once it is certain; ``Unavailable`` where nothing was stored;
        ``OutcomeUnknown``; ``TooManyRequests``.
        """
        if quick:
            self.proposals.check()
            with contextlib.suppress(FloodmarkError):
                decision = step(self.view(name))
                if not decision.pairs:
                    then(decision.answer)
                    return decision.answer
        await self._lock(name, exclusive=not shared, deadline=deadline)
        entry: Entry | None = None
        try:
            decision = await self._judged(name, step, deadline)
            if not decision.pairs:
                then(decision.answer)
                return decision.answer
            entry = self.proposals.add(decision.pairs)
            answer = decision.answer

            def settled(done: asyncio.Future[None]) -> None:
                self._locks.release(name)
                if done.exception() is None:
                    then(answer)

            entry.done.add_done_callback(settled)
        finally:
            # Not when the caller leaves: what is under way still decides what the next step sees.
            if entry is None:
                self._locks.release(name)
        await entry.stored(deadline)
        return answer

    async def meet(self, name: str, step: Step[MemberAnswer], *, deadline: float) -> MemberAnswer:
        """``decide`` for a member that joins or sends a heartbeat: its time begins again."""
        return await self.decide(
            name, step, deadline=deadline, quick=True, then=lambda answer: self.clock.answered(name, answer)
        )

    async def read(self, name: str, look: Callable[[Group], R], *, deadline: float) -> R:
        """What ``look`` makes of a group, which has all that was acknowledged before the call."""
        await self.proposals.confirm(deadline)
        return look(self.view(name))

    async def look_at_all(self, look: Callable[[Callable[[str], Group], list[str]], R], deadline: float) -> R:
        """Likewise of all groups: ``look`` gets what gives one of them, and their names."""
        await self.proposals.confirm(deadline)
        return look(self.view, self._machine.names())

    def view(self, name: str) -> Group:
        """The group as it is committed and applied here; an empty one where there is none."""
        found = self._views.get(name)
        if found is None:
            try:
                found = Group.of(name, self._machine.get, partial(self._machine.keys_of, name))
            except ValueError as error:
                raise ServerError(f"what is stored of group {name} cannot be read: {error}") from error
            self._views[name] = found
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(name)
        return found

    async def _lock(self, name: str, *, exclusive: bool, deadline: float) -> None:
        async with until(deadline, lambda: TimedOut(f"group {name} is being changed; nothing was stored")):
            await self._locks.acquire(name, exclusive=exclusive)

    async def _judged(self, name: str, step: Step[R], deadline: float) -> Decision[R]:
        """What the step decides; it sees what is under way for the same keys once that is stored.

        It is refused only while this node surely leads, and knows all topics: else it is judged again.
        """
        is_confirmed = False
        while True:
            self.proposals.check()
            try:
                decision = step(self.view(name))
            except FloodmarkError:
                if is_confirmed:
                    raise
                await self.proposals.confirm(deadline)
                await self._around.catch_up(max(0.0, deadline - asyncio.get_running_loop().time()))
                is_confirmed = True
                continue
            self._check_room(name, decision.pairs)
            before = self.proposals.under_way(key for key, _ in decision.pairs)
            if before is None:
                return decision
            async with until(deadline, lambda: TimedOut("an earlier commit is still being stored")):
                await asyncio.wait((before.done,))

    def _check_room(self, name: str, pairs: Pairs) -> None:
        """Raises ``TooManyGroups`` where these would make one group too many."""
        limit = self._around.groups_max
        if self._machine.groups < limit or self._machine.keys_of(name):
            return
        if any(value is not None for _, value in pairs):
            raise TooManyGroups(
                f"the shard of the coordinator that would keep group {name} has {limit} groups and takes no "
                "more: delete groups that are not used, or raise groups.per_shard_max",
                limit=limit,
            )

    def _replay(self, pairs: list[Any]) -> None:
        """These were applied: keep what is decoded up to date."""
        for place in range(0, len(pairs), 2):
            name = group_of(pairs[place])
            if not name:
                continue
            self.clock.applied(pairs[place], pairs[place + 1])
            if (view := self._views.get(name)) is None:
                continue
            try:
                view.replay(pairs[place], pairs[place + 1])
            except (TooNew, ValueError):
                del self._views[name]  # Whoever asks for the group is told what is wrong with it.
