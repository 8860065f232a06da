"""The liveness mode: nothing goes wrong any more, so everything must come right within bounded virtual time.

Random faults end first: healing at random moments hides livelocks. In some runs a minority stays away for
good, deaf or mute or both, since the others have to do without it; in others a replica, the leader's more
often than not, is closed for good once all of them sleep, while its node lives.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from storage.errors import LogFailed
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

SETTLE_S = 30.0
TERMS_MAX = 25
POLL_S = 0.1
PROBE_S = 0.5


class Healing:
    """Ends all faults and waits for the cluster to become whole."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._absent: str | None = None
        self._done = False
        self._waits_for_sleep = False
        self._probed_at = -1.0
        self._wanted = 0

    def run(self) -> None:
        """Raise a ``Violation`` when a probe is not stored or the replicas are not level in time."""
        cluster = self._cluster
        cluster.network.heal()
        for replica in cluster.in_order():
            replica.disk.heal()
            replica.resume()
            replica.gone = False
            if replica.older:
                replica.older = False
                if replica.running:
                    replica.crash(power_loss=False)
            replica.start()
        self._leave_one_out()
        cluster.note("cluster", f"is healed, absent: {self._absent}")
        first_term = max(cluster.watch.leader_of, default=0)
        self._wanted = cluster.workload.stored + 1
        cluster.scheduler.after(POLL_S, self._poll)
        began = cluster.scheduler.now
        cluster.scheduler.run(began + SETTLE_S + self._catch_up_s(), stop=lambda: self._done)
        require(self._done, "everything commits after healing", self._state)
        terms = max(cluster.watch.leader_of, default=0) - first_term
        require(terms <= TERMS_MAX, "no endless elections", lambda: f"{terms} terms after healing")

    def _catch_up_s(self) -> float:
        """What it takes at most, at the rate that leaders keep to, until all have the longest log."""
        rate = self._cluster.catch_up_bytes_per_s
        sizes = [replica.log.size_bytes for replica in self._cluster.in_order() if replica.log is not None]
        return len(self._cluster.names) * max(sizes, default=0) / rate if rate else 0.0

    def _leave_one_out(self) -> None:
        cluster = self._cluster
        voters = cluster.agreed_voters()
        for replica in cluster.in_order():
            replica.look_whether_whole()
        moves = cluster.moves
        if self._rng.random() > 0.25 or len(voters) < 3 or any(r.damaged for r in cluster.in_order()):
            return
        if moves is not None and not (moves.is_settled and voters == moves.placed and not moves.is_changing):
            return  # Of a group that is on its way from three voters to two both are needed.
        if self._rng.random() < 0.4:
            self._waits_for_sleep = True
            cluster.scheduler.after(POLL_S, self._close_one_asleep)
            return
        name = self._rng.choice(sorted(voters))
        self._absent = name
        deaf, mute = self._rng.choice([(True, False), (False, True), (True, True)])
        for other in cluster.names:
            if other != name:
                if deaf:
                    cluster.network.cut_for_good(other, name)
                if mute:
                    cluster.network.cut_for_good(name, other)

    def _close_one_asleep(self) -> None:
        """Once nobody says anything any more, and before the first probe. Who was removed never sleeps."""
        cluster = self._cluster
        leaders = cluster.leaders()
        members = [
            name for each in leaders if each.group is not None for name in each.group.membership.members
        ]
        groups = [
            replica.group
            for replica in cluster.in_order()
            if replica.group is not None and replica.name in members
        ]
        if len(leaders) != 1 or not all(group.asleep for group in groups):
            cluster.scheduler.after(POLL_S, self._close_one_asleep)
            return
        voters = sorted(cluster.agreed_voters())
        replica = leaders[0] if self._rng.random() < 0.7 else cluster.replicas[self._rng.choice(voters)]
        replica.note("is closed for good, while all sleep")
        replica.close(LogFailed("closed for good"))
        self._absent = replica.name
        self._waits_for_sleep = False

    def _poll(self) -> None:
        cluster = self._cluster
        if self._waits_for_sleep:
            cluster.scheduler.after(POLL_S, self._poll)
            return
        leaders = [r for r in cluster.leaders() if r.name != self._absent]
        if len(leaders) == 1:
            if cluster.workload.stored >= self._wanted and self._level(leaders[0]):
                self._done = True
                return
            now = cluster.scheduler.now
            if cluster.workload.stored < self._wanted and now - self._probed_at >= PROBE_S:
                self._probed_at = now
                cluster.workload.propose(leaders[0])
        cluster.scheduler.after(POLL_S, self._poll)

    def _level(self, leader: Replica) -> bool:
        """Every member but the absent one has everything, and knows it to be committed."""
        assert leader.group is not None
        assert leader.log is not None
        last = leader.log.last_index
        if self._cluster.moves is not None and not self._cluster.moves.have_ended:
            return False
        for name in leader.group.membership.members:
            replica = self._cluster.replicas[name]
            if name != self._absent and not replica.is_level(last):
                return False
        return True

    def _state(self) -> str:
        parts = []
        for replica in self._cluster.in_order():
            group, log = replica.group, replica.log
            if group is None or log is None:
                parts.append(f"{replica.name} down ({replica.why_down})")
            else:
                parts.append(
                    f"{replica.name} {group.role}{' absent' if replica.name == self._absent else ''} "
                    f"term {group.term} commit {group.commit_index} applied {group.applied_index} "
                    f"last {log.last_index} durable {log.durable_index} may vote {group.may_vote} "
                    f"wiped {replica.wiped} {group.membership}"
                )
        return "; ".join(parts)
