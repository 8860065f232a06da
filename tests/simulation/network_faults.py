"""What goes wrong between nodes. Every fault but a broken connection ends by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

Pair = tuple[str, str]


class NetworkFaults:
    """One method for each kind."""

    def __init__(self, cluster: Cluster, rng: random.Random, pick: Callable[[], str]) -> None:
        self._cluster = cluster
        self._rng = rng
        self._pick = pick
        self.by_name: dict[str, Callable[[], None]] = {
            "break": self._break,
            "cut pair": self._cut_pair,
            "cut one way": self._cut_one_way,
            "isolate": self._isolate,
            "stall": self._stall,
            "stall node": self._stall_node,
            "slow link": self._slow_link,
            "depose": self._depose,
        }

    def _pair(self) -> Pair:
        source, target = self._rng.sample(self._cluster.names, 2)
        return source, target

    def _later(self, low: float, high: float, action: Callable[[], None]) -> None:
        self._cluster.scheduler.after(self._rng.uniform(low, high), action)

    def _note(self, what: str) -> None:
        self._cluster.note("network", what)

    def _break(self) -> None:
        source, target = self._pair()
        self._note(f"breaks {source} -> {target}")
        self._cluster.network.break_connection(source, target)

    def _cut(self, links: list[Pair], low: float, high: float) -> None:
        network = self._cluster.network
        for link in links:
            self._note(f"cuts {link[0]} -> {link[1]}")
            network.set_cut(*link, True)

        def mend() -> None:
            for link in links:
                network.set_cut(*link, False)

        self._later(low, high, mend)

    def _cut_pair(self) -> None:
        a, b = self._pair()
        self._cut([(a, b), (b, a)], 0.2, 3.0)

    def _cut_one_way(self) -> None:
        self._cut([self._pair()], 0.3, 4.0)

    def _isolate(self) -> None:
        name = self._pick()
        others = [other for other in self._cluster.names if other != name]
        side = self._rng.random()
        links = [(name, other) for other in others] if side < 0.8 else []
        links += [(other, name) for other in others] if side > 0.2 else []
        self._cut(links, 0.5, 4.0)

    def stall_links(self, links: list[Pair], low: float = 0.3, high: float = 4.0) -> None:
        """What is sent there comes late."""
        network = self._cluster.network
        for link in links:
            self._note(f"stalls {link[0]} -> {link[1]}")
            network.set_stalled(*link, True)

        def flow() -> None:
            for link in links:
                network.set_stalled(*link, False)

        self._later(low, high, flow)

    def _stall(self) -> None:
        self.stall_links([self._pair()])

    def _stall_node(self) -> None:
        """Everything that one node sends comes late, or everything that it is sent."""
        name = self._pick()
        others = [other for other in self._cluster.names if other != name]
        outward = self._rng.random() < 0.5
        self.stall_links([(name, other) if outward else (other, name) for other in others])

    def _slow_link(self) -> None:
        link = self._cluster.network.links[self._pair()]
        link.extra_delay_s = self._rng.uniform(0.02, 0.4)
        self._note(f"slows {link.source} -> {link.target} by {link.extra_delay_s:.3f} s")

        def quick() -> None:
            link.extra_delay_s = 0.0

        self._later(0.5, 3.0, quick)

    def _depose(self) -> None:
        """A leader is cut off with one follower, deposed, elected anew, and then hears that follower's past.

        What the follower acknowledged in the first leadership reaches further than the second one's log had
        come by then, and at that moment the leader hears nobody else.
        """
        cluster, network = self._cluster, self._cluster.network
        leader = self._pick()
        follower = self._rng.choice([name for name in cluster.names if name != leader])
        rest = [name for name in cluster.names if name not in (leader, follower)]
        around_leader = [pair for name in rest for pair in ((leader, name), (name, leader))]
        around_follower = [pair for name in rest for pair in ((follower, name), (name, follower))]
        self._note(f"cuts off {leader} with {follower}, whose answers wait")
        network.set_stalled(follower, leader, True)
        for link in around_leader + around_follower:
            network.set_cut(*link, True)
        for _ in range(self._rng.randint(0, 40)):
            cluster.workload.propose(cluster.replicas[leader])

        def bring_back() -> None:
            for link in around_leader:
                network.set_cut(*link, False)
            network.set_cut(leader, follower, True)
            self.until(lambda: self._hand_to(leader), 3.0, hear_the_past)

        def hear_the_past() -> None:
            for name in rest:
                network.set_stalled(leader, name, True)
            network.set_stalled(follower, leader, False)
            self._later(0.1, 0.5, mend)

        def mend() -> None:
            for name in rest:
                network.set_stalled(leader, name, False)
            for link in [*around_follower, (leader, follower)]:
                network.set_cut(*link, False)

        self.until(lambda: any(other.name in rest for other in cluster.leaders()), 2.0, bring_back)

    def _hand_to(self, name: str) -> bool:
        """Whether this replica leads; if not, whoever leads is asked to hand over to it."""
        leaders = self._cluster.leaders()
        for replica in leaders:
            if replica.group is not None and replica.name != name:
                replica.group.transfer(name)
                replica.wake()
        return any(replica.name == name for replica in leaders)

    def until(self, holds: Callable[[], bool], seconds: float, then: Callable[[], None]) -> None:
        """Do something once this holds, or when the time is up."""
        scheduler = self._cluster.scheduler
        end = scheduler.now + seconds

        def look() -> None:
            if holds() or scheduler.now >= end:
                then()
            else:
                scheduler.after(0.005, look)

        look()
