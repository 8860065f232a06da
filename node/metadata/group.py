"""The metadata group as the rest of the node sees it; until this node has joined, it refuses requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from floodmark.errors import FloodmarkError, LeaderNotAvailable, ReplicaNotAvailable, Unavailable
from floodmark.format.frame import FrameKind

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from consensus.types import GroupStopped, Membership, NotLeader
from node import outcomes
from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.nodes import RemoveNode
from node.metadata.levels import MEMBERSHIP, Levels
from node.metadata.machine import MetadataMachine
from node.metadata.state import METADATA_GROUP, Applied, MetadataState

CATCH_UP_S = 5.0
RETRY_S = 0.1
LOOK_S = 0.01
SEGMENT_BYTES = 1 << 20
"""The metadata log is kept below three of these: the checkpoint stands for what is older."""


class Metadata:
    """The replicated description of the cluster, and the way to change it."""

    def __init__(self, host: GroupHost, machine: MetadataMachine, first: Membership) -> None:
        self.group: Group | None = None
        """None until this node may take part."""
        self._joined = asyncio.Event()
        self._current = asyncio.Event()
        self.first = first
        """The group's members before its log names any."""
        self.leaving: set[str] = set()
        """Nodes that are about to be removed, where that is done: they give up their votes before."""
        self._host = host
        self._machine = machine

    @property
    def machine(self) -> MetadataMachine:
        """The state machine that the group's entries are applied to."""
        return self._machine

    @property
    def state(self) -> MetadataState:
        """As far as this node has applied it."""
        return self._machine.state

    @property
    def membership(self) -> Membership:
        """Who should be the group's members: all of the cluster's nodes.

        From feature level 3 on, node/planning/voters.py chooses the voters among them.
        """
        state = self.state
        if state.level < MEMBERSHIP or not state.nodes:
            return self.first
        return Membership(frozenset(state.nodes))

    @property
    def halted(self) -> str | None:
        """Why this node no longer applies anything; None while it does."""
        return self._machine.halted

    def check(self) -> None:
        """Raises ``Unavailable`` where the state is known to be outdated, and will stay so."""
        if self._machine.halted is not None:
            raise ReplicaNotAvailable(
                f"this node does not know the cluster's present state: {self._machine.halted}"
            )

    @property
    def leader(self) -> str | None:
        """As far as is known."""
        return self.group.leader if self.group is not None else None

    @property
    def leads_here(self) -> bool:
        """Whether changes can be made here."""
        return self.group is not None and self.group.is_ready_leader and self._machine.halted is None

    @property
    def levels(self) -> Levels:
        """The feature levels that this build knows."""
        return self._machine.levels

    def node_url(self, node_id: str) -> str | None:
        """The advertised HTTP base URL of a node."""
        entry = self.state.nodes.get(node_id)
        return entry.http if entry is not None else None

    @property
    def is_current(self) -> bool:
        """Whether this node has caught up with the metadata since it began to take part."""
        return self._current.is_set()

    def join(self, group: Group) -> None:
        """The replica here is about to take part."""
        self.group = group
        self._joined.set()

    def leave(self) -> None:
        """It no longer takes part: its disk failed. What is known here stays, and goes stale."""
        self.group = None
        self._joined.clear()
        self._current.clear()

    async def wait_current(self) -> None:
        """Wait until this node knows all that was committed when it began to take part."""
        await self._current.wait()

    async def wait_leader(self, *, timeout_s: float) -> str:
        """Node id of the leader. Raises ``Unavailable``."""
        self._check_joined()
        try:
            return await self._host.wait_leader(METADATA_GROUP, deadline_s=timeout_s)
        except Unavailable:
            raise LeaderNotAvailable(
                "the cluster's metadata has no leader at the moment: a majority of the nodes is needed"
            ) from None

    def doubt_leader(self, node: str) -> None:
        """A node that was asked as the leader did not serve."""
        self._host.doubt_leader(METADATA_GROUP, node)

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until all that was acknowledged before the call is applied here. Raises ``Unavailable``."""
        self._check_joined()
        await self._host.read_index(METADATA_GROUP, deadline_s=timeout_s)

    def check_leads(self) -> None:
        """Raise ``Unavailable`` where changes cannot be made here, as far as this node knows."""
        if not self.leads_here:
            raise outcomes.not_leader(self.leader)

    async def must_lead(self, *, timeout_s: float) -> None:
        """Refuse at once where ``check_leads`` does, and else wait as ``confirm_lead`` does."""
        self.check_leads()
        await self.confirm_lead(timeout_s=timeout_s)

    async def confirm_lead(self, *, timeout_s: float) -> None:
        """Wait until a majority has confirmed, since the call began, that changes can be made here.

        The state then has all that was acknowledged before the call. Raises ``Unavailable``.
        """
        self._check_joined()
        try:
            await self._host.confirm_lead(METADATA_GROUP, deadline_s=timeout_s)
        except (NotLeader, GroupStopped) as error:
            raise outcomes.translated(error) from error

    def hand_over(self, alive: Collection[str]) -> bool:
        """Begin to transfer the leadership to a fit voter that stays; returns whether there is one."""
        if self.group is None or not self.leads_here:
            return False
        group = self.group
        fit = [
            node
            for node in sorted(group.membership.voters - {group.node_id} - self.state.draining.keys())
            if node in alive and group.followers.is_trusted(node) and not self._host.wall.is_off_at(node)
        ]
        if fit:
            # It is first sent what it lacks (consensus/core/transfer.py).
            self._host.transfer(METADATA_GROUP, max(fit, key=group.followers.match_of))
        return bool(fit)

    async def remove_node(self, node: str, *, timeout_s: float) -> None:
        """Remove a node without replicas for good. Raises as ``propose`` does.

        It may be switched off as soon as that is told of, so its vote is taken first: with two such nodes
        among four voters the others would have no majority.
        """
        until = time.monotonic() + timeout_s
        self.leaving.add(node)
        try:
            while self._votes(node) and time.monotonic() < until - timeout_s / 2:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)  # Members are changed a step at a time, by the controller.
            await self.propose(RemoveNode(node), timeout_s=until - time.monotonic())
        finally:
            self.leaving.discard(node)

    def _votes(self, node: str) -> bool:
        group = self.group
        if group is None or not self.leads_here:
            return False  # What is proposed here is refused.
        return node in group.membership.voters or not group.followers.may_change_members

    async def leave_to_others(self, alive: Callable[[], Collection[str]], *, timeout_s: float) -> None:
        """Transfer the leadership and wait until it is gone from here, if anybody can take it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.hand_over(alive()):  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)  # No event tells that a transfer came to nothing: then begin again.

    async def keep_current(self) -> None:
        """Catch up each time that the replica here begins to take part, however long that takes; until
        cancelled. That includes what was committed while this node was away.
        """
        while True:
            await self._joined.wait()
            group = self.group
            try:
                await self.catch_up(timeout_s=CATCH_UP_S)
            except Unavailable:
                await asyncio.sleep(RETRY_S)  # The refusal may have come at once.
                continue
            if self.group is group:
                self._current.set()
                self._joined.clear()

    async def propose(self, command: Command, *, timeout_s: float) -> Applied:
        """The command's result; where that is an error, it is raised.

        Raises FeatureLevelNeeded, Unavailable (not stored), OutcomeUnknown.
        """
        self.check_leads()
        level = self.state.level
        for needed, what in commands.needs(command, self.levels):
            if needed > level:
                raise outcomes.needs_level(what, needed, level)
        payload = commands.encode(command, later_settings=self.levels.later_settings(level))
        stored = await self._host.propose(METADATA_GROUP, FrameKind.COMMAND, payload, deadline_s=timeout_s)
        applied = self._machine.outcome(stored.index)
        if isinstance(applied, FloodmarkError):
            raise applied
        if applied is None:
            raise outcomes.unknown("it is committed, and its result is no longer known here")
        return applied

    def _check_joined(self) -> None:
        self.check()
        if self.group is None:
            raise ReplicaNotAvailable(
                "this node has not joined the cluster yet: see /readyz", retry_after_s=1.0
            )
