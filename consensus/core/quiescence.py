"""Idle groups cost nothing: a leader with nothing to say puts its followers and itself to sleep.

Asleep, no clock runs. That the leader's node lives is watched once per link and not once per group: when a
link falls silent the host says so (``GroupLinks.peer_silent``), and whatever else happens wakes the group as
well.

The message that puts followers to sleep also tells them of the last commit, so it goes out where a heartbeat
would have, right after the commit: a record whose group sleeps before and after it costs one append, one
acknowledgement and one such message for each follower. It is not answered:

- The leader sends it only when every member that is connected has acknowledged the whole log in this term,
  and sleeps itself. A member that is not connected is sent a heartbeat once it is.
- It comes behind everything that was said before, and before what is said later. It is lost only with its
  connection, and that its link went down or came up wakes the leader.
- A follower sleeps only where term, leader and log are those of the message and it has nothing to ask, and
  once it has applied everything. One that does not go along says so with an acknowledgement of nothing,
  which wakes the leader; one that asks a question wakes it with that.
- A follower that waits for it in vain, and asks for votes, wakes the leader. The others have agreed not to
  hear of it: they take it for alive, wake it as well, and grant a vote only once it was silent for a timeout.

A member of an older build takes the message only where it knows of the commit already, and sleeps even before
it has applied everything. While one is connected the leader sends heartbeats until nothing has happened for a
second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consensus.messages import Quiesce

if TYPE_CHECKING:
    from consensus.core.acknowledge import Acknowledger
    from consensus.core.apply import Applier
    from consensus.core.core import Core
    from consensus.core.fetching import Fetching
    from consensus.core.prevote import Prevote
    from consensus.core.proposals import Proposals
    from consensus.core.read_index import Reads
    from consensus.core.replication import Replication

COMMIT_NOTICE_HEARTBEATS: Final = 0.2
"""Followers hear of a commit after this part of a heartbeat when no append carries it to them before, ..."""
COMMIT_NOTICE_S_MAX: Final = 0.02
"""... or after this long where heartbeats are rare."""
OLDER_BUILDS_S: Final = 1.0
"""How long nothing must have happened where followers of an older build are to sleep."""


class Quiescence:
    """Falling asleep and waking up."""

    def __init__(
        self,
        core: Core,
        *,
        acks: Acknowledger,
        applier: Applier,
        fetching: Fetching,
        prevote: Prevote,
        proposals: Proposals,
        reads: Reads,
        replication: Replication,
    ) -> None:
        self._core = core
        self._acks = acks
        self._applier = applier
        self._fetching = fetching
        self._prevote = prevote
        self._proposals = proposals
        self._reads = reads
        self._replication = replication
        self.is_told = False
        """Whether the latest message was the leader's to sleep."""
        options = core.options
        self.notice_s = min(options.heartbeat_s * COMMIT_NOTICE_HEARTBEATS, COMMIT_NOTICE_S_MAX)
        """From a commit until followers hear of it, at the latest."""
        self._after_s = max(self.notice_s, options.quiesce_after_s)
        self.rest_at = 0.0
        """When a leader sleeps, if all is said and nothing happens before."""

    def busy(self) -> None:
        """Something happened that was not just a heartbeat."""
        after_s = max(self._after_s, OLDER_BUILDS_S) if self._core.older else self._after_s
        self.rest_at = self._core.now + after_s

    def wake(self, *, says_something: bool = False, for_votes: bool = False) -> None:
        """Let the clocks run again.

        A leader is heard at once: by a heartbeat, unless it ``says_something`` to everybody in this step.
        A follower gives it a whole timeout. One that is asked ``for_votes`` has the other do the same, and
        wakes the leader, which may hear nothing of who asks.
        """
        core = self._core
        self.is_told = False
        if not core.asleep:
            return
        core.asleep = False
        self.busy()
        if core.engine.is_leader:
            core.engine.heard_all()
            core.engine.heartbeat_at(core.now + core.options.heartbeat_s if says_something else 0.0)
        else:
            core.engine.start_election_clock()
            if for_votes and core.engine.leader is not None:
                core.leader_heard_at = core.now
                self._acks.stay_awake(core.engine.leader)

    def look(self) -> bool:
        """Fall asleep where all is said and done; whether it did. At the end of a step, and before a leader
        sends heartbeats.
        """
        core = self._core
        if core.asleep or not (self._reads.is_idle and self._fetching.is_idle):
            return False
        if core.engine.is_leader:
            return self._lead_to_sleep()
        if not self.is_told or self._applier.is_behind:
            return False
        core.engine.stop_election_clock()
        core.asleep = True
        return True

    def on_quiesce(self, source: str, message: Quiesce) -> None:
        """The leader goes to sleep: so does a follower that has the same log."""
        core = self._core
        engine, log = core.engine, core.log
        if engine.election_is_forced:
            return  # It leads no more, and has asked this replica to.
        mine = (engine.term, log.last_index, log.last_term)
        if (
            source == engine.leader
            and mine == (message.term, message.last_index, message.last_term)
            and message.commit <= log.durable_index == log.last_index
        ):
            engine.learn_commit(message.commit)
            core.leader_heard_at = core.now
            self._prevote.cancel()
            self.is_told = True
        else:
            self._acks.stay_awake(source)

    def _lead_to_sleep(self) -> bool:
        core = self._core
        if core.now < self.rest_at or core.transfer_target is not None or not self._all_is_said():
            return False
        quiesce = Quiesce(
            term=core.engine.term,
            commit=core.engine.commit_index,
            last_index=core.log.last_index,
            last_term=core.log.last_term,
        )
        for name in sorted(self._replication.peers.keys() & core.up):
            core.emit(name, quiesce)
        core.asleep = True
        return True

    def _all_is_said(self) -> bool:
        core = self._core
        last = core.log.last_index
        if not core.engine.commit_index == core.applied_index == core.log.durable_index == last:
            return False
        if not self._proposals.is_idle:
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
