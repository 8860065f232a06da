"""Idle groups cost nothing: a leader with nothing to say puts its followers and itself to sleep.

Asleep, no clock runs. That the leader's node lives is watched once per link and not once per group: when a
link falls silent the host says so (``Group.peer_silent``), and whatever else happens wakes the group as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consensus.core import Core
    from consensus.replication import Replication


class Quiescence:
    """Falling asleep and waking up."""

    def __init__(self, core: Core, replication: Replication) -> None:
        self._core = core
        self._replication = replication
        self._busy_at = 0.0

    def busy(self) -> None:
        """Something happened that was not just a heartbeat."""
        self._busy_at = self._core.now

    def wake(self) -> None:
        """Let the clocks run again. A leader is heard at once, a follower gives it a whole timeout."""
        core = self._core
        if not core.asleep:
            return
        core.asleep = False
        self.busy()
        if core.engine.is_leader:
            core.engine.heard_all()
            core.engine.heartbeat_at(0.0)
        else:
            core.engine.start_election_clock()

    @property
    def is_due(self) -> bool:
        """Whether a leader would sleep now, if all were said."""
        core = self._core
        return core.engine.is_leader and core.now - self._busy_at >= core.options.quiesce_after_s

    def look(self) -> None:
        """At the end of every step of a leader: fall asleep when all is said."""
        core = self._core
        if not self.is_due:
            return
        if core.transfer_target is not None or not self._all_is_said():
            return
        fields = {
            "term": core.engine.term,
            "commit": core.engine.commit_index,
            "last_index": core.log.last_index,
            "last_term": core.log.last_term,
        }
        for name in sorted(self._replication.peers.keys() & core.up):
            core.emit(name, "quiesce", dict(fields))
        core.asleep = True

    def on_quiesce(self, source: str, fields: dict[str, Any]) -> None:
        """The leader goes to sleep: so does a follower that is in just the same state."""
        core = self._core
        engine, log = core.engine, core.log
        mine = {
            "term": engine.term,
            "commit": engine.commit_index,
            "last_index": log.last_index,
            "last_term": log.last_term,
        }
        if source == engine.leader and fields == mine and log.durable_index == log.last_index:
            core.leader_heard_at = core.now
            engine.stop_election_clock()
            core.asleep = True

    def _all_is_said(self) -> bool:
        core = self._core
        last = core.log.last_index
        if not core.engine.commit_index == core.applied_index == core.log.durable_index == last:
            return False
        awake = self._replication.peers.keys() & core.up
        voters = core.members.other_voters & awake
        if len(voters) + 1 < core.members.current.quorum:
            return False
        # An answer that is still under way would wake this replica up again.
        latest = self._replication.round
        peers = (self._replication.peers[name] for name in awake)
        # Whoever has lost its data has yet to say that it is trusted again.
        return all(peer.match == last and peer.acked_round == latest and peer.trusted for peer in peers)
