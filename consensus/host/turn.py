"""One turn: every group that has input is stepped once, then all that they have to say leaves together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import structlog

from consensus.core.ready import Ready
from consensus.host.disk_work import DiskWork
from consensus.host.host_types import HostHooks, Slot
from consensus.host.mender import Mender
from consensus.host.upkeep import Upkeep
from consensus.links.fair_queue import Routed
from consensus.links.peer_links import PeerLinks
from consensus.types import LogDiverged

_log = structlog.get_logger("consensus.host.group_host")


class Turn:
    """``at`` takes each group's next deadline."""

    def __init__(
        self,
        links: PeerLinks,
        disk: DiskWork,
        upkeep: Upkeep,
        mender: Mender,
        hooks: HostHooks,
        at: Callable[[Slot, float], None],
    ) -> None:
        self._links = links
        self._disk = disk
        self._upkeep = upkeep
        self._mender = mender
        self._hooks = hooks
        self._at = at

    def run(self, slots: list[Slot]) -> None:
        """Step, send, and only then let others know: they may want to propose or read at once."""
        outgoing: dict[str, list[Routed]] = defaultdict(list)
        stepped = [(slot, self._step(slot, outgoing)) for slot in slots]
        for node, messages in outgoing.items():
            self._links.send(node, messages)
        # Behind the sending: followers write at the same time, and no thread wakes up to wait for this one.
        due = [(slot, ready) for slot, ready in stepped if ready.save_vote or ready.flush]
        for slot, ready in due:
            if ready.save_vote:
                self._disk.save_vote(slot)
            elif self._disk.flush(slot, alone=len(due) == 1):
                # It is on disk already, so a follower's acknowledgement leaves in this turn.
                self.run([slot])
        for slot, ready in stepped:
            self._tell(slot, ready)

    def _step(self, slot: Slot, outgoing: dict[str, list[Routed]]) -> Ready:
        group = slot.group
        try:
            group.step()
        # A defect: the group has failed itself, and the others must go on.
        except Exception:  # noqa: BLE001
            _log.exception("group_defect", group=group.raft_group)
        ready = group.ready()
        for node, message in ready.messages:
            outgoing[node].append((group.raft_group, message))
        if ready.jobs:
            self._disk.jobs.start(slot, ready.jobs)
        self._at(slot, ready.deadline)
        return ready

    def _tell(self, slot: Slot, ready: Ready) -> None:
        group = slot.group
        if slot.removed:
            return
        applied = group.applied_index
        if applied != slot.applied:
            slot.applied = applied
            self._upkeep.wrote(slot)
            slot.watermark_waiters.changed()
            self._hooks.on_commit(group.raft_group)
            # A leader is ready once an entry of its own term is committed.
            slot.leader_waiters.changed()
        leader, term = group.leader, group.term
        if leader != slot.leader or term != slot.term:
            slot.leader, slot.term = leader, term
            group.log.is_read = leader == group.node_id
            slot.leader_waiters.changed()
            self._hooks.on_leadership(group.raft_group, leader, term)
        if ready.member_news:
            self._hooks.on_member_news(group.raft_group)
        if ready.damage is not None:
            self._mender.damaged(slot, ready.damage)
        if group.failed is not None and not slot.failure_told:
            slot.failure_told = True
            _log.error("group_failed", group=group.raft_group, reason=str(group.failed))
            if isinstance(group.failed, LogDiverged):
                _log.error(
                    "log_diverged",
                    group=group.raft_group,
                    index=group.failed.index,
                    term=group.failed.term,
                    leaders_term=group.failed.leaders_term,
                )
            slot.leader_waiters.changed()
            self._hooks.on_group_failed(group.raft_group, group.failed)
