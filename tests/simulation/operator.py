"""What the controller of a real cluster does: members come and go, lost replicas are taken in again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from consensus.types import Membership, NotLeader

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

LOOK_S = 0.3


class Operator:
    """Changes one member at a time, through whatever replica leads."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._at_random = cluster.profile.extra.get("membership", 0.0) * LOOK_S
        self.changes = 0
        cluster.scheduler.after(LOOK_S, self._look)

    def stop(self) -> None:
        """Make no more changes but those that bring lost replicas back."""
        self._at_random = 0.0

    def _look(self) -> None:
        for leader in self._cluster.leaders():
            wanted = self._re_admission(leader) or self._random_change(leader)
            if wanted is not None:
                self._propose(leader, wanted)
        self._cluster.scheduler.after(LOOK_S, self._look)

    def _propose(self, leader: Replica, wanted: Membership) -> None:
        assert leader.group is not None
        try:
            leader.group.propose_membership(wanted)
        except (NotLeader, ValueError):
            return
        self.changes += 1
        self._cluster.note(
            leader.name, f"proposes voters {sorted(wanted.voters)} learners {sorted(wanted.learners)}"
        )
        leader.wake()

    def _re_admission(self, leader: Replica) -> Membership | None:
        """A replica that lost its disk first stops counting, then learns, then votes again."""
        assert leader.group is not None
        assert leader.log is not None
        now = leader.group.membership
        settled = leader.group.commit_index == leader.log.last_index
        for replica in self._cluster.in_order():
            name = replica.name
            if leader.group.followers.has_lost(name) and not replica.wiped:
                # It says so itself: what it lost on its way back made it begin again.
                replica.damaged = replica.wiped = True
                replica.expelled = False
            if not replica.wiped:
                continue
            if not replica.expelled:
                if name in now.voters:
                    return Membership(now.voters - {name}, now.learners)
                replica.expelled = settled
            elif name in now.voters:
                if settled:
                    replica.admitted()
            elif name not in now.learners:
                return Membership(now.voters, now.learners | {name})
            elif self._caught_up(leader, replica):
                return Membership(now.voters | {name}, now.learners - {name})
        return None

    def _caught_up(self, leader: Replica, replica: Replica) -> bool:
        if leader.group is None or replica.group is None or leader.log is None:
            return False
        level = replica.group.commit_index >= leader.group.commit_index - 3
        return level and leader.group.followers.is_trusted(replica.name)

    def _random_change(self, leader: Replica) -> Membership | None:
        assert leader.group is not None
        if self._rng.random() >= self._at_random or any(r.damaged for r in self._cluster.in_order()):
            return None
        now = leader.group.membership
        name = self._rng.choice(self._cluster.names)
        if name in now.learners:
            if self._rng.random() < 0.7 and self._caught_up(leader, self._cluster.replicas[name]):
                return Membership(now.voters | {name}, now.learners - {name})
            return Membership(now.voters, now.learners - {name})
        if name not in now.voters:
            return Membership(now.voters, now.learners | {name})
        if len(now.voters) > 1:
            return Membership(now.voters - {name}, now.learners)
        return None
