"""Makes this node's groups, and hears what their host says of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from consensus.core.catch_up import CatchUp
from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostHooks, Waiters
from consensus.types import GroupOptions, Membership, StateMachine
from node.budget import ByteBudget
from node.membership.boots import Boots
from node.membership.identity import NodeIdentity
from node.membership.presence import Presence
from node.metadata.state import METADATA_GROUP, PartitionEntry
from node.metrics import NodeMetrics
from node.partition.appender import Appender
from node.partition.batch_format import BatchFormat
from node.partition.coalescer import Coalescer
from node.partition.newcomers import ProducerLimits
from node.partition.partition import Replica
from node.partition.producers import ProducerTable
from node.partition.producers_here import ProducersLed
from node.replicas.disk_reserve import DiskReserve
from node.replicas.replica_store import Opened
from node.settings import Settings

CAMPAIGN_AFTER_S: Final = (0.03, 0.1, 0.25)
"""When the preferred leader of a new group asks for votes: the others may need a moment to have it too."""
RETURN_AFTER_S: Final = (0.1, 0.5, 1.0, 1.5, 2.0, 2.5)
"""... and that of a group that was there before: when all nodes start, they are not equally fast."""

GROUPS_PER_TIMEOUT: Final = 200
"""Groups on one node for which the configured election timeouts are long enough; more get longer ones."""

_log = structlog.get_logger(__name__)


class Builder:
    """Makes groups, and hears what the host says of them."""

    def __init__(self, settings: Settings, identity: NodeIdentity, disk: DiskReserve) -> None:
        self.settings = settings
        self.disk = disk
        self.identity = identity
        self.catch_up = CatchUp(settings.limits.catch_up_bytes_per_s)
        """What all groups here send to replicas that are behind."""
        self.metrics = NodeMetrics(self.catch_up)
        self.flushed: dict[int, Waiters] = {}
        self.failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.leadership_changed = asyncio.Event()
        self.on_metadata_commit: Callable[[], None] = lambda: None
        self.on_group_news: Callable[[int], None] = lambda _group: None
        """A partition's group is led here since now, or has news of a member."""
        self._new_leads: set[int] = set()
        self.on_replica_failed: Callable[[int], None] = lambda _group: None
        self.producers_here = ProducersLed()
        self.batch_format: BatchFormat
        """Set before the first replica is made."""

    def hooks(self, presence: Presence, boots: Boots) -> HostHooks:
        """For the host."""
        return HostHooks(
            on_leadership=self._on_leadership,
            on_commit=self._on_commit,
            on_member_news=self._on_member_news,
            on_group_failed=self._on_group_failed,
            on_flush=self._on_flush,
            on_damage=lambda _group: self.metrics.damage.inc(),
            on_mended=lambda _group, frames: self.metrics.mended.inc(frames),
            announce=presence.announce,
            answer=presence.answer,
            on_announcement=presence.heard,
            boot=lambda: presence.boot,
            on_boot=boots.told,
        )

    def group(
        self, raft_group: int, opened: Opened, machine: StateMachine, members: Membership, *, groups: int = 1
    ) -> Group:
        """One replica's group, on a node that has ``groups`` of them."""
        return Group(
            raft_group=raft_group,
            node_id=self.identity.node_id,
            log=opened.log,
            vote=opened.vote,
            machine=machine,
            membership=members,
            clock=time.monotonic,
            random=random.Random(),
            options=scaled(self.settings.raft.options(), groups),
            voting=not opened.lost,
            catch_up=self.catch_up,
        )

    def replica(self, host: GroupHost, entry: PartitionEntry, opened: Opened, groups: int) -> Replica:
        """One partition's replica."""
        limits = self.settings.limits
        table = ProducerTable()
        members = Membership(frozenset(entry.replicas))
        group = self.group(entry.raft_group, opened, table, members, groups=groups)
        budget = ByteBudget(limits.inflight_partition_bytes, "this partition")
        producers = ProducerLimits(
            limits.producers_per_partition_max,
            limits.producers_per_node_max,
            limits.producer_remembered_s,
        )
        appender = Appender(
            host, entry.raft_group, opened.log, table, budget, producers, self.producers_here, self.disk
        )
        flushed = self.flushed[entry.raft_group] = Waiters()
        coalescer = Coalescer(appender.append_shared, lambda: self.batch_format.highest)
        return Replica(group, opened.log, opened.vote, appender, coalescer, flushed, self.batch_format)

    def campaign_early(self, host: GroupHost, raft_group: int, preferred: str, *, new: bool) -> None:
        """No election timeout is needed where no leader can be: the preferred one asks at once.

        Where there is a leader after all, it is heard before, or the others refuse.
        """
        if preferred == self.identity.node_id:
            loop = asyncio.get_running_loop()
            for delay in CAMPAIGN_AFTER_S if new else RETURN_AFTER_S:
                loop.call_later(delay, host.campaign, raft_group)

    def fail(self, error: Exception) -> None:
        """This node cannot go on."""
        if not self.failure.done():
            self.failure.set_result(error)

    def _on_leadership(self, group: int, leader: str | None, term: int) -> None:
        self.leadership_changed.set()
        self._new_leads.discard(group)
        if leader is None:
            return
        if leader == self.identity.node_id:
            self._new_leads.add(group)
        self.metrics.leader_changes.inc()
        if group == METADATA_GROUP:
            _log.info("metadata_leader", leader=leader, term=term)
        else:
            _log.debug("leader", group=group, leader=leader, term=term)

    def _on_commit(self, group: int) -> None:
        if group == METADATA_GROUP:
            self.on_metadata_commit()
        elif group in self._new_leads:
            # Its first commit makes a new leader one that may change members.
            self._new_leads.discard(group)
            self.on_group_news(group)

    def _on_member_news(self, group: int) -> None:
        self.on_group_news(group)

    def _on_group_failed(self, group: int, _error: Exception) -> None:
        self.metrics.failed_replicas.inc()
        self.on_replica_failed(group)

    def _on_flush(self, group: int, seconds: float) -> None:
        self.metrics.flushes.observe(seconds)
        waiters = self.flushed.get(group)
        if waiters:
            waiters.changed()


def scaled(options: GroupOptions, groups: int) -> GroupOptions:
    """Timing for a node with so many groups.

    Every election costs each voter an fsync. When a node with many groups stalls, all of them elect at once,
    and that must take less time than the timeouts, or they would never come to an end. The same goes for
    heartbeats: when all groups are awake, after a node came or went, there must be time left to fall asleep.
    """
    factor = max(1.0, groups / GROUPS_PER_TIMEOUT)
    return replace(
        options,
        heartbeat_s=options.heartbeat_s * factor,
        election_timeout_min_s=options.election_timeout_min_s * factor,
        election_timeout_max_s=options.election_timeout_max_s * factor,
        leader_fallback_s=options.leader_fallback_s * factor,
        takeover_s=options.takeover_s * factor,
    )
