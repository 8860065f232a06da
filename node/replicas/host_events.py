"""What the group host tells a node, as signals for its other parts; some of it is counted."""

from __future__ import annotations

import asyncio

import structlog

from consensus.host.host_types import HostHooks, Waiters
from node.leader_gossip import LeaderGossip
from node.membership.boots import Boots
from node.membership.discovery import Discovery
from node.metadata.state import METADATA_GROUP
from node.metrics import NodeMetrics
from node.signal import Signal

_log = structlog.get_logger(__name__)


class HostEvents:
    """Made before the host; parts made after it subscribe."""

    def __init__(self, node_id: str, metrics: NodeMetrics) -> None:
        self._node_id = node_id
        self._metrics = metrics
        self.metadata_committed: Signal[[]] = Signal()
        """The metadata group's applied index rose on this node."""
        self.group_news: Signal[[int]] = Signal()
        """A partition's group has just got its leader here, or has news of a member."""
        self.leadership: Signal[[int]] = Signal()
        """A group has another leader, or is in another term."""
        self.group_failed: Signal[[int]] = Signal()
        """A replica failed, and does nothing until it is opened again."""
        self.leadership_changed = asyncio.Event()
        """Set whenever any group's leadership changed, or a peer left that may have been to take one over."""
        self.flushed: dict[int, Waiters] = {}
        """By group: woken after every fsync of its log."""
        self._new_leads: set[int] = set()

    def hooks(self, discovery: Discovery, boots: Boots, gossip: LeaderGossip) -> HostHooks:
        """For the host."""
        self._gossip = gossip
        metrics = self._metrics
        return HostHooks(
            on_leadership=self._on_leadership,
            on_commit=self._on_commit,
            on_member_news=self.group_news,
            on_group_failed=self._on_group_failed,
            on_flush=self._on_flush,
            on_damage=lambda _group: metrics.damage.inc(),
            on_mended=lambda _group, frames: metrics.mended.inc(frames),
            announce=discovery.announce,
            answer=discovery.answer,
            on_announcement=discovery.heard,
            boot=lambda: discovery.boot,
            on_boot=boots.told,
            tls_refused=discovery.tls_refused,
            on_peer_up=gossip.peer_up,
            on_peer_down=self._on_peer_down,
        )

    def _on_peer_down(self, peer: str) -> None:
        self.leadership_changed.set()
        self._gossip.peer_down(peer)

    def _on_leadership(self, group: int, leader: str | None, term: int) -> None:
        self.leadership_changed.set()
        self.leadership(group)
        self._gossip.leadership(group, leader, term)
        self._new_leads.discard(group)
        if leader is None:
            return
        if leader == self._node_id:
            self._new_leads.add(group)
        self._metrics.leader_changes.inc()
        if group == METADATA_GROUP:
            _log.info("metadata_leader", leader=leader, term=term)
        else:
            _log.debug("leader", group=group, leader=leader, term=term)

    def _on_commit(self, group: int) -> None:
        if group == METADATA_GROUP:
            self.metadata_committed()
        elif group in self._new_leads:
            # A new leader may change members once it has committed an entry.
            self._new_leads.discard(group)
            self.group_news(group)

    def _on_group_failed(self, group: int, _error: Exception) -> None:
        self._metrics.failed_replicas.inc()
        self.group_failed(group)

    def _on_flush(self, group: int, seconds: float) -> None:
        self._metrics.flushes.observe(seconds)
        waiters = self.flushed.get(group)
        if waiters:
            waiters.changed()
