"""Keeps the cluster in shape by itself, a small step at a time.

On the metadata leader: nodes that have announced themselves are registered. On the leader of each group: the
leadership goes to the preferred replica once that has been fit for a while, and the members become those
that the metadata wants, in the order of consensus/core/member_steps.py: replicas move, and one that lost
its data becomes a voter again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog
from floodmark.errors import Conflict, FloodmarkError

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from node.control.members import MemberSteps
from node.control.unsettled import Unsettled
from node.membership.discovery import Discovery
from node.metadata.delta import MetadataDelta
from node.metadata.domains.features import FormCluster, RaiseLevel, highest_level
from node.metadata.domains.nodes import JoinNode
from node.metadata.group import Metadata
from node.metadata.state import MetadataState
from node.replicas.replica_here import ReplicaHere

LOOK_S: Final = 1.0
FIT_FOR_S: Final = 3.0
"""How long the preferred leader must have been alive and in sync before it is handed the leadership."""
TRANSFERS_PER_LOOK: Final = 4
REGISTER_DEADLINE_S: Final = 2.0
FORM_WAIT_S: Final = 10.0
"""How long to wait for a new cluster's nodes, all of which had met before it could elect a leader."""

_log = structlog.get_logger(__name__)


class Controller:
    """One task per node."""

    def __init__(
        self,
        *,
        node_id: str,
        host: GroupHost,
        metadata: Metadata,
        local: Mapping[int, ReplicaHere],
        discovery: Discovery,
        alive: Callable[[], Collection[str]],
    ) -> None:
        self._node_id = node_id
        self._host = host
        self._metadata = metadata
        self._discovery = discovery
        self._alive = alive
        self._nudged = asyncio.Event()
        self._unsettled = Unsettled(node_id=node_id, metadata=metadata, local=local)
        self._members = MemberSteps(
            host=host,
            metadata=metadata,
            local=local,
            unsettled=self._unsettled,
            alive=alive,
            again=self.group_news,
        )
        self._look_at_all = False
        self._fit_since: dict[int, float] = {}
        self._forming_since: float | None = None
        """When this leader first found the cluster without a name."""

    def nudge(self) -> None:
        """The metadata group applied something, or a node is to be registered: look now."""
        self._nudged.set()

    def metadata_changed(self, _state: MetadataState, delta: MetadataDelta) -> None:
        """Partitions may need other members, or a better leader."""
        self._unsettled.changed(None if delta.concerns("draining") else delta.partitions)
        self._nudged.set()

    def group_news(self, group: int) -> None:
        """A group is led here since now, has news of a member, or has taken a step: the next may be due."""
        self._unsettled.changed([group])
        if self._members.may_be_due(group):
            self._look_at_all = self._look_at_all or group not in self._metadata.state.moves
            self._nudged.set()

    async def run(self) -> None:
        """Look again and again, until cancelled: once a second at all that is not as it should be, whenever
        something happened at what is on its way.
        """
        loop = asyncio.get_running_loop()
        all_at = loop.time()
        while True:
            self._nudged.clear()
            await self._register()
            if loop.time() >= all_at or self._look_at_all:
                self._look_at_all = False
                all_at = loop.time() + LOOK_S
                await self._members.look()
                self._hand_over()
            else:
                await self._members.look_at_moves()
            try:
                async with asyncio.timeout_at(all_at):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def _register(self) -> None:
        if not self._metadata.leads_here:
            self._forming_since = None
            return
        for command in self._discovery.unregistered(self._metadata.state):
            joins = isinstance(command, JoinNode)
            if not joins and command.node_id not in self._metadata.membership.members:
                continue
            try:
                await self._metadata.propose(command, timeout_s=REGISTER_DEADLINE_S)
            except FloodmarkError as error:
                _log.warning("registration_failed", registering=command.node_id, reason=error.detail)
                if isinstance(error, Conflict):
                    continue  # That node is refused; others may not be.
                return
            event = "node_joined" if joins else "node_registered"
            _log.info(event, registered=command.node_id, http=command.http)
        if not self._metadata.state.formation:
            await self._form()

    async def _form(self) -> None:
        """Give this cluster the name that tells its data from all others'.

        A cluster begins at the highest feature level that all its nodes know. The name comes last, so that a
        cluster with a name has its first level, whoever led meanwhile. One that had topics before there were
        names stays at its level, since its operator may want to downgrade.
        """
        state = self._metadata.state
        now = asyncio.get_running_loop().time()
        if self._forming_since is None:
            self._forming_since = now
        is_whole = state.nodes.keys() >= self._metadata.membership.members
        if not is_whole and now - self._forming_since < FORM_WAIT_S:
            return
        highest = highest_level(state)
        try:
            if is_whole and state.next_topic_id == 1 and highest > state.level:
                await self._metadata.propose(RaiseLevel(highest), timeout_s=REGISTER_DEADLINE_S)
            await self._metadata.propose(FormCluster(secrets.token_hex(8)), timeout_s=REGISTER_DEADLINE_S)
        except FloodmarkError as error:
            _log.warning("formation_not_named", reason=error.detail)
        else:
            _log.info("cluster_formed", formation=state.formation, level=self._metadata.state.level)

    def _hand_over(self) -> None:
        """Transfer some leaderships to preferred leaders that have been fit for a while.

        A node whose clock is off by more than its cluster tolerates transfers all of them, and gets none.
        So does one that no longer applies the metadata, and serves nobody.
        """
        if self._metadata.halted is not None:
            self._host.leave()
            self._give_away(self._metadata.halted)
            return
        if self._node_id in self._metadata.state.draining:
            self._metadata.hand_over(self._alive())  # This node may be stopped or removed at any moment.
        if self._host.wall.is_off:
            self._give_away(f"this node's clock is {self._host.wall.ahead_ms()} ms ahead")
            return
        now = asyncio.get_running_loop().time()
        alive = self._alive()
        fit: dict[int, float] = {}
        moved = 0
        for entry, group in self._unsettled.look():
            preferred = self._unsettled.best_leader(entry)
            if preferred == self._node_id or not is_fit(group, preferred, alive):
                continue
            if self._host.wall.is_off_at(preferred):
                continue
            since = fit[entry.raft_group] = self._fit_since.get(entry.raft_group, now)
            if now - since < FIT_FOR_S or moved == TRANSFERS_PER_LOOK:
                continue
            if self._host.transfer(entry.raft_group, preferred):
                moved += 1
                _log.info("leadership_handed_to_preferred", group=entry.raft_group, to=preferred)
        self._fit_since = fit

    def _give_away(self, reason: str) -> None:
        groups = [group for _, group in self._unsettled.led_here()]
        if self._metadata.group is not None and self._metadata.leads_here:
            groups.append(self._metadata.group)
        alive = self._alive()
        for group in groups:
            others = [
                node
                for node in sorted(group.membership.voters - {self._node_id})
                if is_fit(group, node, alive) and not self._host.wall.is_off_at(node)
            ]
            if others and self._host.transfer(group.raft_group, others[group.raft_group % len(others)]):
                _log.warning("leadership_given_away", group=group.raft_group, reason=reason)


def is_fit(group: Group, node: str, alive: Collection[str]) -> bool:
    """Whether ``node`` could take over the leadership of ``group`` without a pause."""
    return (
        node in alive
        and node in group.membership.voters
        and group.followers.is_trusted(node)
        and group.followers.match_of(node) >= group.commit_index
    )
