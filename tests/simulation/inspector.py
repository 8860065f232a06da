"""Looks at a replica after each of its steps and reports what it sees to the checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.format.frame import FrameKind

from consensus.core.group import Group
from consensus.core.safeguards import Safeguard
from consensus.messages import Message, Quiesce
from consensus.types import Role
from storage.errors import LogCorrupt
from tests.simulation.ledger import VIRTUAL_FIRST_INDEX, brief
from tests.simulation.profile import AGAIN_WITHIN_S
from tests.simulation.progress import look_at_progress
from tests.simulation.violation import require
from tests.simulation.watch import View

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

LEADER_WITHOUT_MAJORITY_S = 2.0
"""A leader that hears of no majority for this long should long have stepped down."""
SWEEP_S = 0.25
SLEEPLESS_S = 3.0
"""Two election timeouts, and the time that the slowest messages take."""


class Inspector:
    """The eyes of the checkers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sleepless: dict[tuple[str, str], float] = {}
        """Since when a member is awake though its leader sleeps and they can hear each other."""
        cluster.scheduler.after(SWEEP_S, self._sweep)

    def look(self, replica: Replica) -> None:
        """Check terms, votes and leadership, then every entry that this replica newly calls committed."""
        group, vote = replica.group, replica.vote
        if group is None or vote is None or group.failed is not None or replica.outside:
            return  # A replica that failed takes part in nothing: its outbox is empty.
        replica.look_at_disk()
        # While the vote is on its way to the disk, the new term binds nobody and nobody hears of it.
        waits = group.needs_vote_saved
        is_leader = group.role == Role.LEADER and not waits
        require(
            not (is_leader and replica.halted),
            "who cannot apply what is committed does not lead",
            lambda: f"{replica.name} leads in term {group.term}",
        )
        require(
            not group.asleep or group.commit_index == group.log.durable_index == group.log.last_index,
            "who sleeps knows that all it has is committed",
            lambda: f"{replica.name} sleeps at {group.commit_index} of {group.log.last_index}",
        )
        require(
            not group.asleep or group.applied_index == group.commit_index or replica.halted,
            "who sleeps has applied all that is committed",
            lambda: f"{replica.name} sleeps at {group.applied_index} of {group.commit_index}",
        )
        commit = group.commit_index
        view = View(
            vote.term if waits else group.term,
            is_leader,
            commit,
            group.high_watermark,
            vote.term,
            vote.voted_for,
            group.membership.voters,
        )
        if view != replica.last_view:
            self._cluster.watch.look(replica.name, view)
            before = replica.last_view
            if before is None or (before.term, before.is_leader) != (view.term, is_leader):
                self._cluster.note(replica.name, f"is {group.role} of term {view.term}")
            if is_leader and (before is None or not before.is_leader):
                replica.leads_since = self._cluster.scheduler.now
            if is_leader:
                self._changes_of_members(replica, commit)
            replica.last_view = view
            self._commits(replica, commit)
            require(
                group.high_watermark <= self._cluster.ledger.next_offset_after(commit),
                "nothing above the high watermark is shown",
                lambda: f"{replica.name} shows {group.high_watermark} with commit index {commit}",
            )
        replica.last_membership = group.membership
        if is_leader and Safeguard.C2 in self._cluster.safeguards:
            self._progress(replica.name, group)

    def _progress(self, name: str, group: Group) -> None:
        log = group.log
        for follower, progress in group._parts.replication.peers.items():
            look_at_progress(name, follower, progress, base_index=log.base_index, last_index=log.last_index)

    def _changes_of_members(self, replica: Replica, commit: int) -> None:
        """What majorities of neighbouring memberships need to overlap."""
        group, log = replica.group, replica.log
        assert group is not None
        assert log is not None
        commit = max(commit, self._cluster.ledger.highest)
        if self._cluster.recoveries is not None:
            # What a recovery found counts for nothing any more once its own members are there.
            commit = max(commit, self._cluster.recoveries.begins_at - 1)
        under_way = [index for index, _ in group._core.members.history if index > commit]
        require(
            len(under_way) <= 1,
            "members change one at a time",
            lambda: f"{replica.name} has memberships at {under_way} and commit index {commit}",
        )
        require(
            not any(log.term_at(index) == group.term for index in under_way) or group.is_ready_leader,
            "members change by a leader whose term has committed",
            lambda: f"{replica.name} has one at {under_way} in term {group.term}, commit index {commit}",
        )

    def _commits(self, replica: Replica, commit: int) -> None:
        log, ledger = replica.log, self._cluster.ledger
        assert log is not None
        require(
            commit <= log.last_index,
            "what is committed is in the log",
            lambda: f"{replica.name} has commit index {commit} and entries up to {log.last_index}",
        )
        first = max(replica.checked + 1, log.base_index, VIRTUAL_FIRST_INDEX + 1)
        index = first
        while index <= commit:
            try:
                frame = log.frame(index)
            except LogCorrupt:
                # It was checked when it was written; what reads find damaged later is not served.
                require(replica.damaged, "no corruption by itself", replica.name)
                index += 1
                continue
            if frame.kind is FrameKind.GAP:
                ledger.gap(replica.name, frame, self._cluster.removed)
                require(
                    frame.last_index <= commit,
                    "a gap is committed",
                    lambda: f"{replica.name} has {brief(frame)} with commit index {commit}",  # noqa: B023
                )
            elif ledger.commit(replica.name, frame, term=replica.group.term if replica.group else 0):
                self._cluster.note(replica.name, f"commits {brief(frame)}")
                self._durable(replica, index, frame.term)
            index = frame.last_index + 1
        replica.checked = max(replica.checked, commit)

    def _durable(self, replica: Replica, index: int, term: int) -> None:
        """A majority of the voters has the entry on disk at the moment when it is first called committed."""
        group = replica.group
        assert group is not None
        replicas = self._cluster.replicas
        holders = {name for name in replicas if replicas[name].has_durably(index, term)}
        # A step counts first and appends a new membership after that: either may be what counted.
        memberships = {group.membership, replica.last_membership or group.membership}
        require(
            any(len(members.voters & holders) >= members.quorum for members in memberships),
            "committed is on disk on a majority",
            lambda: (
                f"{replica.name} commits {index} of term {term}, on {sorted(holders)}, {group.membership}"
            ),
        )

    def look_at_delivery(self, replica: Replica, source: str, message: Message) -> None:
        """A message is about to be taken in."""
        group = replica.group
        if isinstance(message, Quiesce) and replica.older and group is not None and not replica.paused:
            knows = message.commit <= group.commit_index
            require(
                knows or (group.term, group.leader) != (message.term, source),
                "an older build is put to sleep only when it knows of the last commit",
                lambda: f"{replica.name} knows of {group.commit_index}, told {message}",
            )

    def _sweep(self) -> None:
        leaders = self._cluster.leaders()
        for replica in leaders:
            self._hears_majority(replica)
        if leaders:
            self._sleeps_with(max(leaders, key=lambda leader: leader.group.term if leader.group else -1))
        else:
            self._sleepless = {}
        self._cluster.scheduler.after(SWEEP_S, self._sweep)

    def _sleeps_with(self, leader: Replica) -> None:
        """A leader that takes all for asleep is told where one is not."""
        assert leader.group is not None
        now, network = self._cluster.scheduler.now, self._cluster.network
        sleepless = {}
        for name in leader.group.membership.members - {leader.name}:
            other = self._cluster.replicas[name]
            links = network.links[leader.name, name], network.links[name, leader.name]
            if (
                leader.group.asleep
                and other.group is not None
                and not other.paused
                and not other.group.asleep
                and all(link.up and not link.broken and not link.stalled for link in links)
            ):
                since = sleepless[leader.name, name] = self._sleepless.get((leader.name, name), now)
                require(
                    now - since < SLEEPLESS_S,
                    "a leader does not sleep on while a member that it can hear is awake",
                    lambda name=name, since=since: f"{name}, since {since:.3f} under {leader.name}",  # type: ignore[misc]
                )
        self._sleepless = sleepless

    def _hears_majority(self, replica: Replica) -> None:
        assert replica.group is not None
        now = self._cluster.scheduler.now
        if replica.group.asleep:
            replica.awake_since = now
        # An answer that comes a second time sounds like its sender.
        late = AGAIN_WITHIN_S if self._cluster.profile.duplicate else 0.0
        since = now - LEADER_WITHOUT_MAJORITY_S - late
        if max(replica.leads_since, replica.awake_since) > since:
            return
        membership = replica.group.membership
        heard = [
            name
            for name in membership.voters
            if name == replica.name or self._cluster.network.heard.get((name, replica.name), -1.0) > since
        ]
        require(
            len(heard) >= membership.quorum,
            "a leader without a majority steps down",
            lambda: (
                f"{replica.name} leads term {replica.group and replica.group.term} and hears {sorted(heard)}"
            ),
        )
