"""One turn: every group that has input is stepped once, then all that they have to say leaves together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import structlog

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
        for slot in slots:
            self._step(slot, outgoing)
        for node, messages in outgoing.items():
            self._links.send(node, messages)
        # Behind the sending: followers write at the same time, and no thread wakes up to wait for this one.
        due = [slot for slot in slots if slot.group.needs_disk]
        for slot in due:
            if self._write(slot, alone=len(due) == 1):
                # It is on disk already, so a follower's acknowledgement leaves in this turn.
                self.run([slot])
        for slot in slots:
            self._tell(slot)

    def _step(self, slot: Slot, outgoing: dict[str, list[Routed]]) -> None:
        group = slot.group
        try:
            group.step()
        # A defect: the group has failed itself, and the others must go on.
        except Exception:  # noqa: BLE001
            _log.exception("group_defect", group=group.raft_group)
        for node, message in group.take_outbox():
            outgoing[node].append((group.raft_group, message))
        if group.has_jobs:
            self._disk.start_jobs(slot)
        self._at(slot, group.next_deadline)

    def _write(self, slot: Slot, *, alone: bool) -> bool:
        """Begin to; whether it is done, and another step is due for it."""
        if slot.group.needs_vote_saved:
            self._disk.save_vote(slot)
            return False
        return self._disk.flush(slot, alone=alone)

    def _tell(self, slot: Slot) -> None:
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
        if group.has_member_news and group.take_member_news():
            self._hooks.on_member_news(group.raft_group)
        if group.damage is not None and (damage := group.take_damage()) is not None:
            self._mender.damaged(slot, damage)
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
