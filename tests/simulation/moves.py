"""What the controllers of a real cluster do with a partition's replicas: they move, dead ones are replaced,
lost ones are taken in again; always by the next step that a leader would take.

The metadata are one place here, which everybody knows at once: where the replicas are placed, and where they
are to be. A node has a replica from when the move to it begins until a move away from it has ended.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from consensus.core.member_steps import CAUGHT_UP_ENTRIES, HandOver
from consensus.types import ChangeRefused, Membership, NotLeader, Proposal
from tests.simulation.broken import Rule, step_without
from tests.simulation.violation import require

if TYPE_CHECKING:
    from consensus.core.group import Group
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

LOOK_S = 0.1
DEAD_AFTER_S = 0.6
"""A node that is away for this long may be replaced."""


class Moves:
    """In place of ``Operator``, in runs that have spare nodes."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._rate = cluster.profile.extra["move"] * LOOK_S
        self.placed = cluster.first_voters
        self._factor = len(self.placed)
        self.held = False
        """Nothing is begun or taken back at random."""
        self.wanted = Membership(self.placed)
        self._change: Proposal | None = None
        self.changes = self.finished = self.cancelled = 0
        cluster.scheduler.after(LOOK_S, self._look)

    def stop(self) -> None:
        """Begin no more moves; what is under way goes on."""
        self._rate = 0.0

    def go_on_with(self, left: frozenset[str]) -> None:
        """A recovery has left these: all moves are off, and replicas are made anew where there is room."""
        self.placed = left
        self.wanted = Membership(left)

    @property
    def is_changing(self) -> bool:
        """Whether a change of members is proposed of which it is not known what became of it."""
        return self._change is not None and self._change.outcome is None

    @property
    def is_settled(self) -> bool:
        """Whether nothing moves."""
        return self.wanted.voters == self.placed

    @property
    def have_ended(self) -> bool:
        """Whether nothing moves, and nothing is left of what has moved away."""
        return self.is_settled and self._nothing_to_delete()

    def _look(self) -> None:
        for leader in self._cluster.leaders():
            assert leader.group is not None
            leader.look_at_rate()
            self._know_the_lost(leader, leader.group)
            self._take_step(leader, leader.group)
        if self.held:
            pass
        elif self.is_settled:
            self._begin_one()
        elif self._rng.random() < self._rate / 4:
            self.cancelled += 1
            self._cluster.note("cluster", f"takes the move to {sorted(self.wanted.voters)} back")
            self.wanted = Membership(self.placed)
        self._finish()
        self._cluster.scheduler.after(LOOK_S, self._look)

    # A leader's part.

    def _take_step(self, leader: Replica, group: Group) -> None:
        alive = self._alive(leader)
        step = step_without(self._cluster.broken, group, self.wanted, alive=alive)
        if isinstance(step, HandOver):
            if step.to and group.transfer(step.to[0]):
                leader.wake()
        elif step is not None:
            before = group.membership
            try:
                self._change = group.propose_membership(step)
            except (NotLeader, ChangeRefused):
                return
            self.changes += 1
            text = f"proposes voters {sorted(step.voters)} learners {sorted(step.learners)}"
            self._cluster.note(leader.name, text)
            self._check(leader, before, step, alive)
            leader.wake()
            if Rule.M7 in self._cluster.broken:
                self._cluster.scheduler.after(LOOK_S / 10, lambda: self._delete_all_but(step.members))

    def _check(self, leader: Replica, before: Membership, after: Membership, alive: set[str]) -> None:
        """What a change may never do."""
        least = 2 if len(self.wanted.voters) >= 3 else 1
        require(
            len(after.voters) >= min(least, len(before.voters)),
            "a group of three never falls below two",
            lambda: f"{leader.name} goes from {sorted(before.voters)} to {sorted(after.voters)}",
        )
        for name in after.voters - before.voters:
            replica = self._cluster.replicas[name]
            if replica.log is not None and leader.group is not None and not replica.damaged:
                lacks = leader.group.commit_index - replica.log.durable_index
                require(
                    lacks <= CAUGHT_UP_ENTRIES,
                    "who is promoted has caught up",
                    f"{leader.name} promotes {name}, which lacks {lacks} entries",
                )
        there = len(before.voters & alive)
        if len(before.voters) > 1 and 2 * there > len(before.voters):
            require(
                2 * len(before.voters & after.voters & alive) > len(after.voters),
                "a change needs nobody more than there was",
                lambda: f"{sorted(before.voters)} to {sorted(after.voters)}, there are {sorted(alive)}",
            )

    def _alive(self, leader: Replica) -> set[str]:
        """Whom a leader can reach."""
        connected = self._cluster.network.connected_to(leader.name)
        return {leader.name} | {
            name
            for name, replica in self._cluster.replicas.items()
            if replica.running and not replica.paused and name in connected
        }

    # The metadata's part.

    def _begin_one(self) -> None:
        replicas = self._cluster.replicas
        now = self._cluster.scheduler.now
        spare = [name for name in sorted(replicas) if replicas[name].absent and not replicas[name].outside]
        dead = [
            name
            for name in sorted(self.placed)
            if not replicas[name].running and now - replicas[name].down_since > DEAD_AFTER_S
        ]
        if not spare or not self._rate:
            return
        if len(self.placed) < self._factor:
            leaving = []
            spare = self._rng.sample(spare, 1)
        elif dead and self._rng.random() < 0.3:
            leaving = [dead[0]]
        elif self._rng.random() < self._rate:
            leaving = self._rng.sample(sorted(self.placed), self._rng.choice((1, 1, 1, len(self.placed))))
        else:
            return
        coming = self._rng.sample(spare, min(len(leaving), len(spare))) if leaving else spare
        self.begin(leaving[: len(coming)], coming)

    def begin(self, leaving: list[str], coming: list[str] | None = None) -> bool:
        """Move from these to as many others; False where there are none."""
        replicas = self._cluster.replicas
        if coming is None:
            spare = [
                name for name in sorted(replicas) if replicas[name].absent and not replicas[name].outside
            ]
            coming = spare[: len(leaving)]
        if not self._rate or len(coming) < len(leaving):
            return False
        staying = self.placed - set(leaving)
        self.wanted = Membership(staying | set(coming))
        self._cluster.note("cluster", f"moves from {sorted(self.placed)} to {sorted(self.wanted.voters)}")
        for name in coming:
            replicas[name].come(lost=Rule.M8 not in self._cluster.broken)
        return True

    def _finish(self) -> None:
        """Ask the leader, and have it confirmed that it is the one, whether the members are those wanted."""
        wanted = self.wanted
        for leader in self._cluster.leaders():
            group = leader.group
            if group is None or group.membership != wanted or not group.followers.may_change_members:
                continue
            if self.have_ended:
                return

            def confirmed(index: int | None, group: Group = group) -> None:
                if index is not None and self.wanted is wanted and group.membership == wanted:
                    self._cluster.after_step(lambda: self._finished(wanted))

            group.read_index().add_done_callback(confirmed)
            leader.wake()

    def _nothing_to_delete(self) -> bool:
        return all(
            replica.absent or replica.outside or name in self.placed
            for name, replica in self._cluster.replicas.items()
        )

    def _finished(self, wanted: Membership) -> None:
        if self.wanted is not wanted:
            return
        if not self.is_settled:
            self.finished += 1
            self._cluster.note("cluster", f"has moved to {sorted(wanted.voters)}")
        self.placed = wanted.voters
        self._delete_all_but(wanted.members)

    def _delete_all_but(self, members: frozenset[str]) -> None:
        for name, replica in self._cluster.replicas.items():
            if name not in members and not replica.absent and not replica.outside:
                self._cluster.scheduler.after(self._rng.uniform(0.0, 0.5), lambda r=replica: self._delete(r))

    def _delete(self, replica: Replica) -> None:
        coming_again = replica.name in self.wanted.members | self.placed
        if (
            not replica.absent
            and not replica.outside
            and not replica.paused
            and self._knows(replica)
            and (not coming_again or Rule.M7 in self._cluster.broken)
        ):
            replica.leave()

    def _knows(self, replica: Replica) -> bool:
        """Whether its node can know the metadata: one that is cut off does not, and deletes nothing."""
        links = self._cluster.network.links
        return not replica.running or any(
            links[name, replica.name].up and not links[name, replica.name].broken
            for name in self.placed
            if name != replica.name and self._cluster.replicas[name].running
        )

    # What is known of replicas that lost their data.

    def _know_the_lost(self, leader: Replica, group: Group) -> None:
        """When the group has stopped counting on one, and when it counts on it again."""
        now = group.membership
        settled = group.followers.may_change_members and leader.log is not None
        for replica in self._cluster.in_order():
            name = replica.name
            if name in now.voters and group.followers.has_lost(name) and not replica.wiped:
                # It says so itself: what it lost on its way back made it begin again.
                replica.damaged = replica.wiped = True
                replica.expelled = False
            if not replica.wiped or not settled or replica.outside:
                continue
            if not replica.expelled:
                replica.expelled = name not in now.voters
            elif name in now.voters:
                replica.admitted()
