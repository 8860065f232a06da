"""Changes the members of every group led here to those that the metadata wants, a step at a time.

A node that no longer holds a partition deletes its data, so a leader that knows only an old target could make
a voter of a node that has nothing. So a step is taken only right after this node has caught up with the
metadata, and towards the target then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import structlog
from floodmark.errors import FloodmarkError

from consensus.core.group import Group
from consensus.core.member_steps import HandOver, next_step
from consensus.host.group_host import GroupHost
from consensus.types import ChangeRefused, GroupStopped, Membership, NotLeader
from node.control.unsettled import Unsettled
from node.membership.liveness import Silence
from node.metadata.group import Metadata
from node.metadata.holders import wanted
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import METADATA_GROUP
from node.planning.voters import metadata_voters
from node.replicas.replica_here import ReplicaHere

CATCH_UP_S: Final = 2.0
VOTER_SILENT_S: Final = 30.0
"""A voter of the metadata that is silent for this long is replaced, where another node can vote."""

_Due = tuple[Group, Membership | HandOver]

_log = structlog.get_logger(__name__)


class MemberSteps:
    """``again`` is called with the group when a step is done and the next one may be due."""

    def __init__(
        self,
        *,
        host: GroupHost,
        metadata: Metadata,
        local: Mapping[int, ReplicaHere],
        unsettled: Unsettled,
        alive: Callable[[], Collection[str]],
        again: Callable[[int], None],
    ) -> None:
        self._host = host
        self._metadata = metadata
        self._local = local
        self._unsettled = unsettled
        self._alive = alive
        self._again = again
        self._silence = Silence(alive)

    async def look(self) -> None:
        """Take the steps that are due in the groups led here."""
        if not self._may_step:
            return
        group, alive = self._metadata.group, self._alive()
        if group is not None:
            self._take(group, self._metadata_step(group, alive))
        await self._step(self._due)

    async def look_at_moves(self) -> None:
        """The same, only in the groups whose replicas are moving."""
        if self._may_step:
            await self._step(self._due_in_moves)

    def may_be_due(self, group: int) -> bool:
        """Whether news of a group can make a step due: not where all members are in place."""
        replica = self._local.get(group)
        if replica is None:
            return group == METADATA_GROUP
        members = replica.group.membership
        return (
            group in self._metadata.state.moves
            or members.learners != frozenset()
            or any(replica.group.followers.has_lost(node) for node in members.voters)
        )

    @property
    def _may_step(self) -> bool:
        return self._metadata.is_current and self._metadata.halted is None

    async def _step(self, due: Callable[[Collection[str]], Iterator[_Due]]) -> None:
        if next(due(self._alive()), None) is None:
            return
        try:
            await self._metadata.catch_up(timeout_s=CATCH_UP_S)
        except FloodmarkError:
            return
        # All changes until then were reported, and are looked at now.
        for group, step in list(due(self._alive())):
            self._take(group, step)

    def _metadata_step(self, group: Group, alive: Collection[str]) -> Membership | HandOver | None:
        """The next step; or the members as they are, where the log does not name them.

        A node that comes back without its data, knowing only a seed, cannot tell whether it was one of the
        first voters. A voter is demoted, and reads that in the log. A learner has to read its role there too,
        or it would wait for ever.
        """
        step = next_step(group.followers, self._metadata_members(group, alive), alive=alive)
        if step is not None or group.followers.members_are_written or not group.followers.may_change_members:
            return step
        is_told = self._metadata.state.level < MEMBERSHIP or not group.membership.learners
        return None if is_told else group.membership

    def _metadata_members(self, group: Group, alive: Collection[str]) -> Membership:
        """The members and voters that the metadata group should have."""
        state, fixed = self._metadata.state, self._metadata.membership
        silent = self._silence.longer_than(VOTER_SILENT_S, fixed.members)
        if state.level < MEMBERSHIP:
            return fixed
        racks = {
            node: state.nodes[node].rack if node in state.nodes else ""
            for node in sorted(fixed.members - self._metadata.leaving)
        }
        now = group.membership.voters
        voters = metadata_voters(racks, now, unfit={*silent, *state.draining}, alive=alive)
        return Membership(voters, fixed.members - voters)

    def _due(self, alive: Collection[str]) -> Iterator[_Due]:
        moves = self._metadata.state.moves
        for entry, group in self._unsettled.look():
            target = wanted(entry, moves.get(entry.raft_group))
            step = next_step(group.followers, Membership(frozenset(target)), alive=alive, preferred=target)
            if step is not None:
                yield group, step

    def _due_in_moves(self, alive: Collection[str]) -> Iterator[_Due]:
        for raft_group, move in self._metadata.state.moves.items():
            replica = self._local.get(raft_group)
            if not move.started or replica is None or not replica.group.is_ready_leader:
                continue
            target = Membership(frozenset(move.replicas))
            step = next_step(replica.group.followers, target, alive=alive, preferred=move.replicas)
            if step is not None:
                yield replica.group, step

    def _take(self, group: Group, step: Membership | HandOver | None) -> None:
        if isinstance(step, HandOver):
            heirs = (node for node in step.to if not self._host.wall.is_off_at(node))
            heir = next(heirs, step.to[0])
            if self._host.transfer(group.raft_group, heir):
                _log.info("leadership_handed_over_to_leave", group=group.raft_group, to=heir)
        elif step is not None:
            try:
                proposal = self._host.change_members(group.raft_group, step)
            except (ChangeRefused, NotLeader, GroupStopped):
                return
            proposal.add_done_callback(lambda _: self._again(group.raft_group))
            _log.info(
                "membership_change",
                group=group.raft_group,
                voters=sorted(step.voters),
                learners=sorted(step.learners),
            )
